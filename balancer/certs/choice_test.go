package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

func TestChoice(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	serials := map[string]string{}
	for name, w := range map[string]wanted{
		"default": {names: []string{"mail.example.org"}},
		"wild":    {names: []string{"*.example.org", "MiXed.example.org"}},
		"exact":   {names: []string{"imap.example.org"}},
		"rsa":     {names: []string{"imap.example.org", "mail.example.org"}, key: rsaKey()},
		"ed":      {names: []string{"ed.example.net"}, key: edKey(t)},
		"old":     {names: []string{"old.example.org"}, from: time.Now().AddDate(0, 0, -2), to: time.Now().Add(-time.Hour)},
		"future":  {names: []string{"new.example.org"}, from: time.Now().Add(time.Hour)},
		"expired": {names: []string{"end.example.net"}, from: time.Now().AddDate(0, 0, -2), to: time.Now().Add(-time.Hour)},
		"idn":     {names: []string{"xn--bcher-kva.example.net"}},
	} {
		serials[serial(i.write(dir, name, w))] = name
	}
	var sources []Source
	for _, name := range []string{"default", "wild", "exact", "rsa", "ed", "old", "future", "expired", "idn"} {
		sources = append(sources, pairOf(dir, name))
	}
	k := keep(t, nil, sources...)
	onlyRSA := func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	for _, tt := range []struct {
		name, sni string
		client    func(*tls.Config)
		want      string
	}{
		{"exact before wildcard", "imap.example.org", nil, "exact"},
		{"RSA for who knows no ECDSA", "imap.example.org", onlyRSA, "rsa"},
		{"upper case", "IMAP.Example.ORG", nil, "exact"},
		{"wildcard", "pop.example.org", nil, "wild"},
		{"a name of mixed case", "mixed.example.org", nil, "wild"},
		{"one label only", "a.b.example.org", nil, "default"},
		{"not the domain itself", "example.org", nil, "default"},
		{"unknown", "example.com", nil, "default"},
		{"unknown, RSA: the one for the default's name", "example.com", onlyRSA, "rsa"},
		{"none", "", nil, "default"},
		{"none, RSA", "", onlyRSA, "rsa"},
		{"a valid wildcard before an expired name", "old.example.org", nil, "wild"},
		{"a valid wildcard before one not yet valid", "new.example.org", nil, "wild"},
		{"an expired one before another name's", "end.example.net", nil, "expired"},
		{"Ed25519", "ed.example.net", nil, "ed"},
		{"a name with ECDSA only, RSA", "pop.example.org", onlyRSA, "rsa"},
		{"A-label", "xn--bcher-kva.example.net", nil, "idn"},
		{"TLS 1.2", "imap.example.org", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "exact"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &tls.Config{ServerName: tt.sni}
			if tt.client != nil {
				tt.client(c)
			}
			got, err := shake(t, k, c)
			if err != nil {
				t.Fatal(err)
			}
			if serials[serial(got)] != tt.want {
				t.Errorf("got %s, want %s", serials[serial(got)], tt.want)
			}
		})
	}
	// What crypto/tls sends for no client of its own.
	for sni, want := range map[string]string{"192.0.2.1": "default", "[2001:db8::1]": "default", "imap.example.org.": "exact", "BÜCHER.example.net": "idn", "\x00": "default", ".": "default", "*.example.org": "wild"} {
		got, err := k.Config("l").GetCertificate(anybody(sni))
		if err != nil || serials[serial(got.Leaf)] != want {
			t.Errorf("%q: got %v, %v, want %s", sni, got, err, want)
		}
	}
	if _, err := k.Config("another").GetCertificate(anybody("")); err == nil {
		t.Error("a listener that is not planned has a certificate")
	}
}

// anybody is the hello of a modern client.
func anybody(sni string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: sni, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.Ed25519}, SupportedCurves: []tls.CurveID{tls.X25519},
	}
}

// A porter is a shelf that sees hellos.
type porter struct {
	*files
	asked []string
	cert  *tls.Certificate
}

func (p *porter) hello(hello *tls.ClientHelloInfo) (*tls.Certificate, bool, error) {
	p.asked = append(p.asked, hello.ServerName)
	return p.cert, hello.ServerName != "nobody.example.org", nil
}

// TestGreeters are asked first by a CA, last by a client, and not at all where a
// certificate is at hand or no name is given.
func TestGreeters(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	own, _ := i.issue(wanted{names: []string{"x"}})
	k := keep(t, nil, pairOf(dir, "a"))
	p := &porter{files: newFiles(&pairReader{}, slog.New(slog.DiscardHandler)), cert: &tls.Certificate{Leaf: own}}
	f := &front{shelves: []shelf{only(t, k), p}}
	for _, tt := range []struct {
		sni   string
		asked bool
		own   bool
	}{
		{"a.example.org", false, false},
		{"", false, false},
		{"b.example.org", true, true},
		{"nobody.example.org", true, false},
	} {
		p.asked = nil
		c, err := f.choose(anybody(tt.sni), time.Now())
		if err != nil || (c == p.cert) != tt.own || len(p.asked) != map[bool]int{true: 1}[tt.asked] {
			t.Errorf("%q: asked %q, got own %v, %v", tt.sni, p.asked, c == p.cert, err)
		}
	}
}

// TestUselessClient: who can use nothing makes us try few.
func TestUselessClient(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	k := keep(t, nil, pairOf(dir, "a"))
	hello := anybody("b.example.org")
	hello.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA512}
	c, err := k.Config("l").GetCertificate(hello)
	if err != nil || c == nil {
		t.Fatalf("got %v, %v: crypto/tls is to say what is missing", c, err)
	}
	_, err = shake(t, k, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}})
	if err == nil {
		t.Error("an RSA client was shown ECDSA")
	}
}

// TestStrangersNamesCostNoMemory makes up names, as many as a flood would.
func TestStrangersNamesCostNoMemory(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"*.example.org"}})
	k := keep(t, nil, pairOf(dir, "a"))
	get := k.Config("l").GetCertificate
	held := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flood := func(n int) {
		for range n {
			for _, sni := range []string{fmt.Sprintf("%x.example.org", rand.Uint64()), fmt.Sprintf("%x.%x", rand.Uint64(), rand.Uint64()), fmt.Sprintf("ü%x.example.org", rand.Uint64())} {
				if c, err := get(anybody(sni)); err != nil || c == nil {
					t.Fatal(err)
				}
			}
		}
	}
	flood(1000)
	before := held()
	flood(10_000)
	// Not one octet for a name, but for what the runtime does meanwhile.
	if after := held(); after > before+64<<10 {
		t.Errorf("30000 names have left %d octets", after-before)
	}
}

func BenchmarkChoice(b *testing.B) {
	i, dir := newIssuer(b), b.TempDir()
	i.write(dir, "a", wanted{names: []string{"mail.example.org"}})
	i.write(dir, "r", wanted{names: []string{"mail.example.org"}, key: rsaKey()})
	i.write(dir, "w", wanted{names: []string{"*.example.org"}})
	k := keep(b, nil, pairOf(dir, "a"), pairOf(dir, "r"), pairOf(dir, "w"))
	get := k.Config("l").GetCertificate
	for name, sni := range map[string]string{"exact": "mail.example.org", "wildcard": "imap.example.org", "none": "", "unknown": "mail.example.com"} {
		hello := anybody(sni)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c, _ := get(hello); c == nil {
					b.Fatal("no certificate")
				}
			}
		})
	}
}
