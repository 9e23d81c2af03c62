package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	// maxBlocks bounds the PEM blocks of a file: a chain has three, the bundle
	// of all public CAs about 150.
	maxBlocks = 256

	// maxChain bounds what is sent to every client: real chains have two or
	// three, and long ones make handshakes need another round trip.
	maxChain = 10

	// minRSA is the least modulus that crypto/tls signs with, in bits.
	minRSA = 1024
)

// contents are the certificates and the private keys of a file, in its order.
type contents struct {
	certs []*x509.Certificate
	keys  []crypto.Signer
}

var errEncrypted = errors.New("the private key is encrypted, and usher has nobody to ask for the passphrase: store it without one (openssl pkey -in OLD -out NEW), mode 0600")

// parse reads PEM. What is neither a certificate nor a private key, such as
// parameters, is passed over. Errors have nothing of a key in them.
func parse(data []byte) (contents, error) {
	var c contents
	for range maxBlocks {
		block, rest := pem.Decode(data)
		if block == nil {
			return c, nil
		}
		data = rest
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return c, fmt.Errorf("certificate %d in it: %w", len(c.certs)+1, err)
			}
			c.certs = append(c.certs, cert)
		case "ENCRYPTED PRIVATE KEY":
			return c, errEncrypted
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return c, errEncrypted
			}
			key, err := parseKey(block.Bytes)
			if err != nil {
				return c, err
			}
			c.keys = append(c.keys, key)
		}
	}
	return c, fmt.Errorf("more than %d parts", maxBlocks)
}

// parseKey reads a private key in one of the forms that there are.
func parseKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return signer(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return signer(key)
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return signer(key)
	}
	return nil, errors.New("the private key cannot be parsed: want PKCS #8, PKCS #1 or SEC 1")
}

func signer(key any) (crypto.Signer, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSA {
			return nil, fmt.Errorf("an RSA key of %d bits is not taken: want %d or more", bits, 2*minRSA)
		}
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	default:
		return nil, fmt.Errorf("a private key of type %T is not for TLS: want ECDSA, RSA or Ed25519", key)
	}
}

// fits reports whether a key is that of a certificate.
func fits(key crypto.Signer, cert *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// order puts a chain in the order in which clients want it, each certificate by
// the next (RFC 5246 §7.4.2). Strangers have signed nothing in it.
func order(certs []*x509.Certificate) (chain, strangers []*x509.Certificate) {
	chain = certs[:1:1]
	rest := append([]*x509.Certificate(nil), certs[1:]...)
	for at := 0; at < len(chain); at++ {
		left := rest[:0]
		for _, c := range rest {
			switch {
			case bytes.Equal(c.Raw, chain[at].Raw): // twice in the file
			case bytes.Equal(c.RawSubject, chain[at].RawIssuer) && chain[at].CheckSignatureFrom(c) == nil:
				chain = append(chain, c)
			default:
				left = append(left, c)
			}
		}
		rest = left
	}
	return chain, rest
}
