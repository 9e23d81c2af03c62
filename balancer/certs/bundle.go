package certs

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// MaxCertificatePEM bounds a chain that is brought in octets: ten
	// certificates of the largest kind that is seen.
	MaxCertificatePEM = 64 << 10

	// MaxKeyPEM bounds a private key: RSA with 16384 bits is under 13 KiB.
	MaxKeyPEM = 16 << 10

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
	keys, err := parse(keyPEM)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the key: %w", err)
	case len(keys.keys) == 0 && len(keys.certs) > 0:
		return nil, errors.New("there is no private key in the key's file, only certificates: are certificate and key exchanged?")
	case len(keys.keys) == 0:
		return nil, errors.New("there is no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----: openssl pkey -in KEY -out PEM converts one")
	}
	certificates, err := parse(chainPEM)
	if err != nil {
		return nil, fmt.Errorf("the certificate's file: %w", err)
	}
	b, err := newBundle(certificates.certs, keys.keys)
	if err != nil {
		return nil, err
	}
	if err := b.check(now); err != nil {
		return nil, err
	}
	return b, nil
}

// newBundle puts the certificate of one of the keys first and behind it those that
// it is signed by. Nothing may be left over.
func newBundle(all []*x509.Certificate, keys []crypto.Signer) (*bundle, error) {
	switch {
	case len(all) == 0:
		return nil, errors.New("there is no certificate: give one in PEM, which begins with -----BEGIN CERTIFICATE-----")
	case len(all) > 2*maxChain: // some are there twice
		return nil, fmt.Errorf("there are more than %d certificates: give the server's and the intermediate ones alone", maxChain)
	}
	for _, key := range keys {
		leaf := slices.IndexFunc(all, func(c *x509.Certificate) bool { return same(key.Public(), c.PublicKey) })
		if leaf < 0 {
			continue
		}
		chain, strangers := order(slices.Concat(all[leaf:leaf+1], all[:leaf], all[leaf+1:]))
		switch {
		case len(strangers) > 0:
			return nil, fmt.Errorf("the certificate of %s does not belong to the chain, which ends at %q: take it out of the file, or add what is between",
				whose(strangers[0]), chain[len(chain)-1].Issuer.String())
		case len(chain) > maxChain:
			return nil, fmt.Errorf("there are more than %d certificates: give the server's and the intermediate ones alone", maxChain)
		}
		return &bundle{chain: chain, key: key}, nil
	}
	return nil, fmt.Errorf("the key does not belong to the certificate of %s: give the key that it was requested with", whose(all[0]))
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
	if k, ok := leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < minImportRSA {
		return fmt.Errorf("the key is RSA of %d bits, and clients refuse fewer than %d: have a certificate made for a new key", k.N.BitLen(), minImportRSA)
	}
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

// pem encodes the chain, then the key.
func (b *bundle) pem() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(b.key)
	if err != nil {
		return nil, err
	}
	return append(encode(b.certificate().Certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

func (b *bundle) certificate() *tls.Certificate { return joined(b.chain, b.key) }

// status describes what the storage has, or is to have, at a key.
func (b *bundle) status(at string) Status {
	s := describe(b.chain)
	s.Source, s.From = "imported", at
	return s
}
