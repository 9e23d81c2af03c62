package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"time"
)

const (
	// validity is longer than anybody lets a demonstration run, and than the
	// time before the end at which usher warns; who has told his mail program to
	// trust the authority has not done so for ever.
	validity = 30 * 24 * time.Hour
	// clockSkew is how far the clock of a client may be behind ours: one in a
	// virtual machine, say.
	clockSkew = time.Hour
)

// An authority signs the certificates of one site. Its key is in memory only,
// so that nobody can sign others with it.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := newCertificate("usher demo authority")
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	a := &authority{cert: template, key: key}
	a.cert, err = a.sign(template, key)
	return a, err
}

// pool trusts the authority and nobody else.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a server certificate for host names and addresses.
func (a *authority) issue(commonName string, hosts ...string) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	template := newCertificate(commonName)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil {
			template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	leaf, err := a.sign(template, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// write writes the certificate of the authority.
func (a *authority) write(path string) error {
	return writePEM(path, 0o644, "CERTIFICATE", a.cert.Raw)
}

// writePair writes a certificate and its key.
func writePair(certPath, keyPath string, cert tls.Certificate) error {
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	if err := writePEM(certPath, 0o644, "CERTIFICATE", cert.Certificate[0]); err != nil {
		return err
	}
	return writePEM(keyPath, 0o600, "PRIVATE KEY", der)
}

func writePEM(path string, mode os.FileMode, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// newCertificate is what all certificates of a site have in common.
func newCertificate(commonName string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: commonName, Organization: []string{"usher demo"}},
		NotBefore:    time.Now().Add(-clockSkew),
		NotAfter:     time.Now().Add(validity),
	}
}

// serial is a random number of 126 bits: mail programs mix up two certificates
// of one issuer and number (RFC 5280 §4.1.2.2), and each run has an issuer of
// the same name.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] = b[0]&0x3f | 0x20
	return new(big.Int).SetBytes(b[:])
}
