package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

func (k *checker) pool(path string, p Pool) {
	if !k.c.serves(p.Name) {
		k.note(path, "pool %q is of no listener, so it serves nobody", p.Name)
	}
	k.readable(join(path, "pins_file"), p.PinsFile)
	k.secret(join(path, "master_password_file"), p.MasterPasswordFile)
	k.secret(join(join(path, "health"), "test_password_file"), p.Health.TestPasswordFile)
	for j, be := range p.Backends {
		k.backend(path, element(join(path, "backend"), j), be)
	}
}

// backend checks the link of a back end. What comes from the pool is reported
// there.
func (k *checker) backend(pool, path string, be Backend) {
	at := func(key string) string {
		if own := join(path, key); k.has(own) {
			return own
		}
		return join(pool, key)
	}
	if be.ClientAddress == AddressNone {
		k.note(at("client_address"), `client_address = "none": back ends see only usher's address, so their limits and penalties take all users for one client`)
	}
	if be.IMAPPort != 0 {
		k.usual(at("tls"), be.IMAPPort, be.TLS)
	}
	if be.POP3Port != 0 {
		k.usual(at("tls"), be.POP3Port, be.TLS)
	}
	if be.TLS == TLSNone {
		if addr, ok := knownAddr(be.Host); !ok || !addr.IsLoopback() {
			k.note(at("tls"), `tls = "none": passwords go to %s in clear`, be.Host)
		}
		return
	}
	if be.TLSInsecure {
		k.note(at("tls_insecure"), "tls_insecure: the certificate of %s is not verified, so whoever stands between can read passwords", be.Host)
	}
	k.version(at("tls_min"), be.TLSMin)
	k.authorities(at("tls_ca_file"), be.TLSCAFile)
	if be.TLSCertFile != "" {
		k.pair(at("tls_cert_file"), be.TLSCertFile, at("tls_key_file"), be.TLSKeyFile, k.fail)
	}
}

// pair tries a certificate with its key. Late is told of dates that are over, or not
// come: fail or note.
func (k *checker) pair(certPath, certFile, keyPath, keyFile string, late func(path, format string, args ...any)) {
	cert, err := readFile(certFile, maxPEM, false)
	if err != nil {
		k.fail(certPath, "%s: %v", lastKey(certPath), err)
	}
	key, keyErr := readFile(keyFile, maxPEM, true)
	if keyErr != nil {
		k.fail(keyPath, "%s: %v", lastKey(keyPath), keyErr)
	}
	if err != nil || keyErr != nil {
		return
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		k.fail(certPath, "%s: %s with %s: %v", lastKey(certPath), certFile, keyFile, err)
		return
	}
	for _, der := range pair.Certificate {
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			k.fail(certPath, "%s: %s: %v", lastKey(certPath), certFile, err)
			continue
		}
		k.dates(certPath, certFile, crt, late)
	}
}

func (k *checker) dates(path, file string, crt *x509.Certificate, late func(path, format string, args ...any)) {
	name := crt.Subject.CommonName
	if len(crt.DNSNames) > 0 {
		name = crt.DNSNames[0]
	}
	utc := func(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
	third := crt.NotAfter.Sub(crt.NotBefore) / 3
	switch now := k.now(); {
	case now.Before(crt.NotBefore):
		late(path, "%s: the certificate of %q in %s is not valid before %s, and others refuse it until then; it is %s by the clock of this host: is that right?",
			lastKey(path), name, file, utc(crt.NotBefore), utc(now))
	case !now.Before(crt.NotAfter):
		late(path, "%s: the certificate of %q in %s expired at %s, and others refuse it: renew it; it is %s by the clock of this host: is that right?",
			lastKey(path), name, file, utc(crt.NotAfter), utc(now))
	case crt.NotAfter.Sub(now) < min(renewTime, third):
		left := fmt.Sprintf("in less than %d days", renewTime/(24*time.Hour))
		if third < renewTime {
			left = "in less than a third of its life"
		}
		k.note(path, "%s: the certificate of %q in %s expires at %s, %s: see why it was not renewed", lastKey(path), name, file, utc(crt.NotAfter), left)
	}
}

// authorities tries a file of CAs, if there is one.
func (k *checker) authorities(path, file string) {
	if file == "" {
		return
	}
	data, err := readFile(file, maxPEM, false)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = fmt.Errorf("%s holds no certificate in PEM", file)
	}
	if err != nil {
		k.fail(path, "%s: %v", lastKey(path), err)
	}
}

// secret tries a password file, if there is one.
func (k *checker) secret(path, file string) {
	if file == "" {
		return
	}
	if _, err := ReadSecret(file); err != nil {
		k.fail(path, "%s: %v", lastKey(path), err)
	}
}

// directory tries one that somebody else will read, if there is one.
func (k *checker) directory(path, dir string) {
	if dir == "" {
		return
	}
	if _, err := os.ReadDir(dir); err != nil {
		k.fail(path, "%s: %v", lastKey(path), fmt.Errorf("read: %w", err))
	}
}

// readable tries a file that somebody else will read, if there is one.
func (k *checker) readable(path, file string) {
	if file == "" {
		return
	}
	f, err := os.Open(file)
	if err != nil {
		k.fail(path, "%s: %v", lastKey(path), fmt.Errorf("read: %w", err))
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		k.fail(path, "%s: %s is a directory, want a file", lastKey(path), file)
	}
}
