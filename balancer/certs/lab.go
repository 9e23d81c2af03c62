package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// labAuthorityTime is how long a laboratory's CA is good: nobody wants to
	// go round all clients again.
	labAuthorityTime = 10 * 365 * 24 * time.Hour

	// labTime is how long its certificates are good. Apple's systems take no
	// longer ones than 825 days, other clients none beyond 398.
	labTime = 365 * 24 * time.Hour

	// labBefore makes them good for clients whose clocks are late.
	labBefore = time.Hour

	// maxLabNames bounds the names of one certificate; some clients take no
	// more than 100.
	maxLabNames = 100
)

// A Lab is a CA for a laboratory, in a directory: who has its key can be any
// server, towards the clients that were told to believe it, within the domains
// that it was made for.
type Lab struct {
	AuthorityFile     string // the CA's certificate, for clients
	CertFile, KeyFile string // what usher shows
	Names             []string
	NotAfter          time.Time
	Renewed           bool // there was such a certificate before

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// MakeLab issues a certificate for names, host names and addresses, by the CA in
// dir. Without one there it makes one first, that may sign for the domains of
// these names only (RFC 5280 §4.2.1.10). A certificate of that CA with the same
// first name is replaced; any other file is left alone, and is an error.
// Private keys are P-256, in files of mode 0600, or of the mode, group and, if we
// may, owner of the file before.
func MakeLab(dir string, names []string) (*Lab, error) {
	template, err := labTemplate(names, time.Now())
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir, AuthorityFile: filepath.Join(dir, "ca.pem"), NotAfter: template.NotAfter}
	l.Names = append(l.Names, template.DNSNames...)
	for _, ip := range template.IPAddresses {
		l.Names = append(l.Names, ip.String())
	}
	stem := strings.NewReplacer("*", "_", ":", "_").Replace(l.Names[0])
	if stem == "ca" {
		return nil, errors.New("a certificate named ca would take the place of the CA: put another name first")
	}
	l.CertFile, l.KeyFile = filepath.Join(dir, stem+".pem"), filepath.Join(dir, stem+".key")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := l.authority(template); err != nil {
		return nil, err
	}
	if err := l.replaceable(); err != nil {
		return nil, err
	}
	return l, l.issue(template)
}

// labTemplate is a certificate for names.
func labTemplate(names []string, now time.Time) (*x509.Certificate, error) {
	if len(names) == 0 || len(names) > maxLabNames {
		return nil, fmt.Errorf("%d names: want 1 to %d", len(names), maxLabNames)
	}
	t := &x509.Certificate{
		NotBefore: now.Add(-labBefore), NotAfter: now.Add(labTime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	var errs []error
	for _, name := range names {
		dns, ip, err := subject(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case dns == "":
			t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
		case !slices.Contains(t.DNSNames, dns):
			t.DNSNames = append(t.DNSNames, dns)
		}
	}
	return t, errors.Join(errs...)
}

// authority reads the CA, or makes one that may sign what the template names.
func (l *Lab) authority(template *x509.Certificate) error {
	keyFile := filepath.Join(l.dir, "ca.key")
	certPEM, certErr := readPEM(l.AuthorityFile)
	keyPEM, keyErr := readPEM(keyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return l.found(template, keyFile)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return fmt.Errorf("the CA in %s is not whole; to begin anew, move ca.pem and ca.key away: %w", l.dir, err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("the CA in %s: %w; to begin anew, move ca.pem and ca.key away", l.dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return fmt.Errorf("%s is no CA of usher's; choose another directory", l.AuthorityFile)
	}
	l.cert, l.key = pair.Leaf, key
	if time.Now().Add(labTime).After(l.cert.NotAfter) {
		return fmt.Errorf("the CA in %s ends at %s, before a new certificate would; move ca.pem and ca.key away, and give clients the new ca.pem",
			l.dir, l.cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// found makes a CA.
func (l *Lab) found(template *x509.Certificate, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial := newSerial()
	t := &x509.Certificate{
		SerialNumber: serial,
		// The number tells laboratories from each other in a client's list.
		Subject:   pkix.Name{CommonName: fmt.Sprintf("usher laboratory CA %x", serial.Bytes()[:4])},
		NotBefore: template.NotBefore, NotAfter: template.NotBefore.Add(labAuthorityTime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true,
	}
	for _, name := range template.DNSNames {
		if domain := labDomain(name); !slices.Contains(t.PermittedDNSDomains, domain) {
			t.PermittedDNSDomains = append(t.PermittedDNSDomains, domain)
		}
	}
	for _, ip := range template.IPAddresses {
		bits := 8 * len(ip)
		t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	if len(t.PermittedIPRanges) == 0 { // a kind that is not named would be free
		for _, all := range []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")} {
			t.ExcludedIPRanges = append(t.ExcludedIPRanges, &net.IPNet{IP: all.Addr().AsSlice(), Mask: net.CIDRMask(0, all.Addr().BitLen())})
		}
	}
	if len(t.PermittedDNSDomains) == 0 {
		t.ExcludedDNSDomains = []string{""} // every name
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make a CA: %w", err)
	}
	if l.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("make a CA: %w", err)
	}
	l.key = key
	if err := writeKey(keyFile, key); err != nil {
		return err
	}
	return writePEM(l.AuthorityFile, 0o644, "CERTIFICATE", der)
}

// labDomain is the domain that a CA may sign for, so that another host of a
// site does not take another CA.
func labDomain(name string) string {
	name = strings.TrimPrefix(name, "*.")
	if strings.Count(name, ".") >= 2 {
		return strings.TrimPrefix(parent(name), ".")
	}
	return name
}

// replaceable reports what must not be overwritten.
func (l *Lab) replaceable() error {
	_, keyErr := os.Lstat(l.KeyFile)
	text, err := readPEM(l.CertFile)
	if errors.Is(err, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return nil
	}
	foreign := fmt.Errorf("%s and %s are there and not of the CA in %s: they are left alone; move them away, or choose another directory", l.CertFile, l.KeyFile, l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return foreign
	}
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return foreign
	}
	old, err := x509.ParseCertificate(block.Bytes)
	if err != nil || old.CheckSignatureFrom(l.cert) != nil {
		return foreign
	}
	l.Renewed = true
	return nil
}

// issue signs and writes a certificate with a new key.
func (l *Lab) issue(template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.SerialNumber = newSerial()
	template.Subject = pkix.Name{CommonName: l.Names[0]}
	if len(l.Names[0]) > maxCommonName {
		template.Subject = pkix.Name{} // the names are in the extension
	}
	der, err := x509.CreateCertificate(rand.Reader, template, l.cert, key.Public(), l.key)
	if err != nil {
		return fmt.Errorf("issue a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("issue a certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(l.cert)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		return fmt.Errorf("the CA in %s was made for other domains, and clients would not believe it: %w; choose another directory, or move ca.pem and ca.key away", l.dir, err)
	}
	// The key first: usher takes neither up before both are there.
	if err := writeKey(l.KeyFile, key); err != nil {
		return err
	}
	return writePEM(l.CertFile, 0o644, "CERTIFICATE", der)
}

// maxCommonName is X.520's bound, ub-common-name (RFC 5280, appendix A.1).
const maxCommonName = 64

// newSerial is a serial number of 127 bits, 120 of them random at least (RFC
// 5280 §4.1.2.2 has at most 20 octets, and positive).
func newSerial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, 0o600, "PRIVATE KEY", der)
}

// writePEM puts a file in its place in one step, and never one with a key where
// others can read it.
func writePEM(file string, mode fs.FileMode, kind string, der []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // there no longer, if all went well
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	// Who may read the file before was an administrator's choice. Where its group
	// cannot be had the rights of that are not given to ours.
	if old, statErr := os.Stat(file); statErr == nil {
		if st, ok := old.Sys().(*syscall.Stat_t); ok && (f.Chown(int(st.Uid), int(st.Gid)) == nil || f.Chown(-1, int(st.Gid)) == nil) {
			mode = old.Mode().Perm() &^ (^mode & 0o007)
		}
	}
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
