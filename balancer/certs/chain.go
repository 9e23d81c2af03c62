package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
)

// same reports whether two public keys are one.
func same(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
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
			case slices.ContainsFunc(chain, c.Equal): // twice in the file
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

// joined is a chain with the key of its first, as it is served.
func joined(chain []*x509.Certificate, key crypto.Signer) *tls.Certificate {
	c := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, link := range chain {
		c.Certificate = append(c.Certificate, link.Raw)
	}
	return c
}

// encode writes a chain in PEM.
func encode(chain [][]byte) []byte {
	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

// idSize is how many octets of a fingerprint tell certificates apart: one in 2⁴⁸
// has another's.
const idSize = 6

// describe says what a chain is, leaf first. The caller knows where it is from.
func describe(chain []*x509.Certificate) Status {
	leaf := chain[0]
	s := Status{
		Names: names(leaf), Key: keyName(leaf.PublicKey), Issuer: leaf.Issuer.String(), Serial: leaf.SerialNumber.Text(16),
		Fingerprint: fingerprint(leaf.Raw), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
	s.ID = s.Fingerprint[:2*idSize]
	for _, c := range chain {
		s.Chain = append(s.Chain, &ChainLink{Subject: c.Subject.String(), Issuer: c.Issuer.String(), NotAfter: c.NotAfter})
	}
	return s
}

// names are what a certificate is valid for, in lower case. One without a
// subjectAltName is an old one of somebody's own: its common name counts.
func names(leaf *x509.Certificate) []string {
	all := make([]string, 0, len(leaf.DNSNames)+len(leaf.IPAddresses))
	for _, n := range leaf.DNSNames {
		all = append(all, strings.ToLower(n))
	}
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		all = append(all, strings.ToLower(leaf.Subject.CommonName))
	}
	return all
}

// keyName says what a public key is.
func keyName(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	default:
		return "unknown"
	}
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// wantID is the ID of a certificate that is wanted and not there.
func wantID(what string) string { return fingerprint([]byte(what))[:2*idSize] }
