package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
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

	// minRSA is the least modulus that crypto/tls signs with, in bits. Old CAs
	// of somebody's own still have such keys.
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

// parseKey reads a private key in one of the forms that there are. What x509 says
// could have octets of it, and is not told.
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
	return nil, errors.New("the private key cannot be parsed: make sure that it is whole; openssl pkey -in KEY -noout -check looks at it")
}

func signer(key any) (crypto.Signer, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSA {
			return nil, fmt.Errorf("an RSA key of %d bits is not taken: want %d or more", bits, 2*minRSA)
		}
		return key, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P224() {
			return nil, errors.New("the private key is ECDSA P-224, which TLS does not know: have a certificate made for a key of P-256")
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	default:
		return nil, errors.New("the private key is of a kind that TLS has no use for: have a certificate made for ECDSA P-256 or RSA")
	}
}
