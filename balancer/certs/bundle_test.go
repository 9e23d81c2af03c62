package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A maker makes certificates for tests: a CA, one below it, and those of servers.
type maker struct {
	root, middle       *x509.Certificate
	rootKey, middleKey crypto.Signer
}

func newMaker(t testing.TB) *maker {
	t.Helper()
	m := &maker{}
	m.rootKey, m.middleKey = ec(t), ec(t)
	m.root = m.sign(t, m.rootKey, func(c *x509.Certificate) { authority(c, "Test Root") }, nil, m.rootKey)
	m.middle = m.sign(t, m.middleKey, func(c *x509.Certificate) { authority(c, "Test Middle") }, m.root, m.rootKey)
	return m
}

func authority(c *x509.Certificate, name string) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	c.Subject = pkix.Name{CommonName: name}
	c.ExtKeyUsage = nil
}

func ec(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (m *maker) sign(t testing.TB, key crypto.Signer, change func(*x509.Certificate), by *x509.Certificate, byKey crypto.Signer) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(c)
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// server makes a certificate for names.
func (m *maker) server(t testing.TB, key crypto.Signer, names ...string) *x509.Certificate {
	t.Helper()
	return m.sign(t, key, func(c *x509.Certificate) { c.DNSNames = names }, m.middle, m.middleKey)
}

func chainText(all ...*x509.Certificate) []byte { return []byte(certPEM(all...)) }

func keyText(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	return []byte(keyPEM(t, key))
}

func TestOpenBundle(t *testing.T) {
	m := newMaker(t)
	key, other := ec(t), ec(t)
	leaf := m.server(t, key, "mail.example.org")
	with := func(change func(*x509.Certificate)) []byte {
		c := m.sign(t, key, func(c *x509.Certificate) {
			c.DNSNames = []string{"mail.example.org"}
			change(c)
		}, m.middle, m.middleKey)
		return chainText(c, m.middle)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // it is to be refused
	if err != nil {
		t.Fatal(err)
	}
	good := keyText(t, key)
	for name, c := range map[string]struct {
		chain, key []byte
		want       string // in the error; with ! in a warning; empty: neither
	}{
		"in order":            {chainText(leaf, m.middle), good, ""},
		"the root with it":    {chainText(leaf, m.middle, m.root), good, ""},
		"in disorder":         {chainText(m.root, m.middle, leaf), good, ""},
		"twice the same":      {chainText(leaf, leaf, m.middle, m.middle), good, ""},
		"the key with it":     {append(bytes.Clone(good), chainText(leaf, m.middle)...), good, ""},
		"no intermediate":     {chainText(leaf), good, "!add the CA's chain"},
		"self-signed":         {chainText(m.sign(t, key, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} }, nil, key)), good, "!self-signed"},
		"another key":         {chainText(leaf, m.middle), keyText(t, other), "does not belong to the certificate of mail.example.org"},
		"a gap":               {chainText(leaf, m.root), good, "add what is between"},
		"another chain":       {chainText(leaf, m.middle, newMaker(t).middle), good, "take it out"},
		"an impostor's CA":    {chainText(leaf, newMaker(t).middle), good, "add what is between"},
		"two leaves":          {chainText(leaf, m.server(t, other, "b.example"), m.middle), good, "b.example"},
		"exchanged":           {good, chainText(leaf), "exchanged"},
		"no certificate":      {good, good, "there is no certificate"},
		"no PEM":              {leaf.Raw, good, "there is no certificate"},
		"no key":              {chainText(leaf, m.middle), nil, "no private key in PEM"},
		"a broken key":        {chainText(leaf, m.middle), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("sesame")}), "cannot be parsed"},
		"a broken one":        {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), good, "certificate 1"},
		"weak":                {chainText(m.server(t, weak, "a.example"), m.middle), keyText(t, weak), "fewer than 2048"},
		"expired":             {with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), good, "has expired"},
		"of the future":       {with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), good, "set the clock"},
		"no names":            {with(func(c *x509.Certificate) { c.DNSNames = nil }), good, "subjectAltName"},
		"for clients":         {with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), good, "serverAuth"},
		"a CA":                {chainText(m.middle, m.root), keyText(t, m.middleKey), "that of a CA"},
		"far too large":       {bytes.Repeat([]byte("x"), MaxCertificatePEM+1), good, "octets"},
		"far too large a key": {chainText(leaf), bytes.Repeat([]byte("x"), MaxKeyPEM+1), "octets"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := openBundle(c.chain, c.key, time.Now())
			warning, isWarning := strings.CutPrefix(c.want, "!")
			switch {
			case err == nil && !isWarning && c.want != "", err != nil && (isWarning || c.want == ""):
				t.Fatalf("got %v, want %q", err, c.want)
			case err != nil:
				if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sesame") {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if got := strings.Join(b.warnings, ""); !strings.Contains(got, warning) || (warning == "") != (got == "") {
				t.Errorf("got warnings %q, want %q", got, warning)
			}
			for i, link := range b.chain[1:] {
				if err := b.chain[i].CheckSignatureFrom(link); err != nil {
					t.Errorf("certificate %d is not signed by the next: %v", i, err)
				}
			}
		})
	}
}

// TestOpenSSLKeys reads keys in the forms that OpenSSL writes.
func TestOpenSSLKeys(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, needs real programs (make test installs them): %v", err)
	}
	dir := t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.pem")
	openssl("ecparam", "-name", "prime256v1", "-genkey", "-out", "parameters.pem") // with a block before the key
	openssl("ec", "-in", "ec.pem", "-out", "sec1.pem")
	openssl("genpkey", "-algorithm", "ED25519", "-out", "ed.pem")
	openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.pem")
	openssl("rsa", "-in", "rsa.pem", "-traditional", "-out", "pkcs1.pem")
	openssl("pkey", "-in", "ec.pem", "-aes256", "-passout", "pass:sesame", "-out", "encrypted.pem")
	openssl("ec", "-in", "ec.pem", "-aes256", "-passout", "pass:sesame", "-out", "encrypted1.pem")
	openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp224r1", "-out", "p224.pem")
	openssl("genpkey", "-algorithm", "X25519", "-out", "x25519.pem")
	for name, want := range map[string]string{
		"ec.pem": "ECDSA P-256", "parameters.pem": "ECDSA P-256", "sec1.pem": "ECDSA P-256", "ed.pem": "Ed25519", "rsa.pem": "RSA 2048", "pkcs1.pem": "RSA 2048",
		"encrypted.pem": "openssl pkey", "encrypted1.pem": "openssl pkey", "p224.pem": "P-256", "x25519.pem": "no use",
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		c, err := parse(text)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case len(c.keys) != 1:
			t.Errorf("%s: got %d keys", name, len(c.keys))
			continue
		default:
			got = keyName(c.keys[0].Public())
		}
		if good := !strings.HasPrefix(want, "o") && !strings.HasPrefix(want, "no") && name != "p224.pem"; good != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func FuzzBundle(f *testing.F) {
	m := newMaker(f)
	key := ec(f)
	chain := chainText(m.server(f, key, "mail.example.org"), m.middle)
	f.Add(chain, keyText(f, key))
	f.Add(slices.Concat(chain, keyText(f, key)), chain)
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		b, err := openBundle(chain, key, time.Now())
		if err != nil {
			return
		}
		value, err := b.pem()
		if err != nil {
			t.Fatal(err)
		}
		again, err := openValue(value)
		if err != nil || !again.chain[0].Equal(b.chain[0]) || len(again.chain) != len(b.chain) {
			t.Errorf("what was stored is not read again: %v", err)
		}
		_, _ = importedKey(b)
	})
}
