package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxCertificatePEM bounds a chain that is brought in octets: ten
	// certificates of the largest kind that is seen.
	MaxCertificatePEM = 64 << 10

	// MaxKeyPEM bounds a private key: RSA with 16384 bits is under 13 KiB.
	MaxKeyPEM = 16 << 10

	// maxImportChain is as many as clients follow; Go's and OpenSSL's limits are near.
	maxImportChain = 10

	// minImportRSA is what public CAs and clients demand (CA/Browser Forum, §6.1.5).
	minImportRSA = 2048
)

// A bundle is a certificate with its chain and its key, found to belong together.
type bundle struct {
	chain []*x509.Certificate // leaf first, each signed by the next
	key   crypto.Signer
	// warnings are what clients may stumble over, though it can be served.
	warnings []string
}

// openBundle reads PEM and finds what would make clients turn away. The chain may
// come in any order: it is put in that of RFC 8446 §4.4.2. No error tells anything
// of the key.
func openBundle(chainPEM, keyPEM []byte, now time.Time) (*bundle, error) {
	switch {
	case len(keyPEM) > MaxKeyPEM:
		return nil, fmt.Errorf("the key has more than %d octets: give the file with the private key alone", MaxKeyPEM)
	case len(chainPEM) > MaxCertificatePEM:
		return nil, fmt.Errorf("the certificate has more than %d octets: give the server's and the intermediate ones alone", MaxCertificatePEM)
	}
	key, err := openKey(keyPEM)
	if err != nil {
		return nil, err
	}
	certificates, err := openCertificates(chainPEM)
	if err != nil {
		return nil, err
	}
	b := &bundle{key: key}
	if b.chain, err = chainOf(certificates, key); err != nil {
		return nil, err
	}
	if err := b.check(now); err != nil {
		return nil, err
	}
	return b, nil
}

func openKey(text []byte) (crypto.Signer, error) {
	var names []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		names = append(names, block.Type)
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, errors.New("the key is encrypted: decrypt it with openssl pkey -in KEY -out PLAIN, and take care of who may read that")
		}
		return openKeyBlock(block)
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("there is no private key in the key's file, only %s: are certificate and key exchanged?", strings.Join(names[:min(len(names), 3)], ", "))
	}
	return nil, errors.New("the key is not PEM: it begins with -----BEGIN PRIVATE KEY-----; openssl pkey -in KEY -out PEM converts it")
}

func openKeyBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil { // its text could have octets of the key
		return nil, fmt.Errorf("the key of type %q cannot be read: make sure that it is whole; openssl pkey -in KEY -noout -check looks at it", block.Type)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minImportRSA {
			return nil, fmt.Errorf("the key is RSA of %d bits, and clients refuse fewer than %d: have a certificate made for a new key", k.N.BitLen(), minImportRSA)
		}
		return k, nil
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P224() {
			return nil, errors.New("the key is ECDSA P-224, which TLS does not know: have a certificate made for a key of P-256")
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errors.New("the key is of a kind that TLS has no use for: have a certificate made for ECDSA P-256 or RSA")
}

func openCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // the key may be in the same file
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the file cannot be read: %w", len(all)+1, err)
		}
		if slices.ContainsFunc(all, c.Equal) {
			continue
		}
		if all = append(all, c); len(all) > maxImportChain {
			return nil, fmt.Errorf("there are more than %d certificates: give the server's and the intermediate ones alone", maxImportChain)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate: give one in PEM, which begins with -----BEGIN CERTIFICATE-----")
	}
	return all, nil
}

// chainOf puts the key's certificate first and behind each the one that signed it.
func chainOf(all []*x509.Certificate, key crypto.Signer) ([]*x509.Certificate, error) {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	leaf := slices.IndexFunc(all, func(c *x509.Certificate) bool { return ok && public.Equal(c.PublicKey) })
	if leaf < 0 {
		return nil, fmt.Errorf("the key does not belong to the certificate of %s: give the key that it was requested with", whose(all[0]))
	}
	chain := []*x509.Certificate{all[leaf]}
	left := slices.Delete(slices.Clone(all), leaf, leaf+1)
	for len(left) > 0 {
		last := chain[len(chain)-1]
		next := slices.IndexFunc(left, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
		if next < 0 {
			return nil, fmt.Errorf("the certificate of %s does not belong to the chain, which ends at %q: take it out of the file, or add what is between",
				whose(left[0]), last.Issuer.String())
		}
		chain = append(chain, left[next])
		left = slices.Delete(left, next, next+1)
	}
	return chain, nil
}

// whose names a certificate in an error.
func whose(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return shown(c.DNSNames[0])
	}
	return fmt.Sprintf("%q", c.Subject.String())
}

// check finds what clients would refuse.
func (b *bundle) check(now time.Time) error {
	leaf := b.chain[0]
	switch {
	case leaf.IsCA:
		return fmt.Errorf("the key is that of a CA, %s: give a certificate that it has issued for this server", whose(leaf))
	case len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0:
		return errors.New("the certificate has no names (subjectAltName), and clients look at nothing else: have a new one made with them")
	case len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return errors.New("the certificate is not for servers (extended key usage serverAuth): have one made that is")
	}
	for _, c := range b.chain {
		switch {
		case now.After(c.NotAfter):
			return fmt.Errorf("the certificate of %s has expired on %s: bring a newer one, or set the clock", whose(c), c.NotAfter.UTC().Format(time.DateOnly))
		case now.Before(c.NotBefore):
			return fmt.Errorf("the certificate of %s is not valid before %s: wait until then, or set the clock", whose(c), c.NotBefore.UTC().Format(time.RFC3339))
		}
	}
	selfSigned := bytes.Equal(leaf.RawIssuer, leaf.RawSubject)
	switch {
	case selfSigned:
		b.warnings = append(b.warnings, "it is self-signed: clients that were not told of it will refuse it")
	case len(b.chain) == 1:
		b.warnings = append(b.warnings, fmt.Sprintf("there is no intermediate certificate: if clients do not know %q itself, add the CA's chain to the file", leaf.Issuer.CommonName))
	}
	return nil
}

// names are what the certificate is valid for.
func names(leaf *x509.Certificate) []string {
	all := make([]string, 0, len(leaf.DNSNames)+len(leaf.IPAddresses))
	for _, n := range leaf.DNSNames {
		all = append(all, strings.ToLower(n))
	}
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// pem encodes the chain, then the key.
func (b *bundle) pem() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(b.key)
	if err != nil {
		return nil, err
	}
	return append(encodeChain(b.certificate().Certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

func encodeChain(chain [][]byte) []byte {
	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func (b *bundle) certificate() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: b.key, Leaf: b.chain[0]}
	for _, link := range b.chain {
		c.Certificate = append(c.Certificate, link.Raw)
	}
	return c
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// describeKey says what a public key is.
func describeKey(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}
