package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var checkTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// quiet is a machine that has nothing to say.
func quiet() machine {
	return machine{
		now: func() time.Time { return checkTime },
		resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		},
		hostname:    func() string { return "u1" },
		mayBind:     func(int) bool { return true },
		descriptors: func() (uint64, bool) { return 1 << 30, true },
	}
}

// site is a folder with what a configuration may name, all good.
type site string

func newSite(t *testing.T) site {
	t.Helper()
	s := site(t.TempDir())
	s.pair(t, "c", checkTime.Add(-time.Hour), checkTime.Add(90*24*time.Hour))
	s.file(t, "secret", "hunter2\n", 0o600)
	s.file(t, "pins", "joe main/mail1\n", 0o644)
	return s
}

func (s site) file(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(string(s), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// pair writes name.pem and name.key.
func (s site) pair(t *testing.T, name string, from, to time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{"mail.example.org"}, NotBefore: from, NotAfter: to,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.file(t, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
	s.file(t, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})), 0o600)
}

// clean is a configuration of the site without a word to say about it.
const clean = `[[certificate]]
cert_file = "c.pem"
key_file = "c.key"
[[listener]]
name = "imaps"
address = ":993"
protocol = "imap"
client_ca_file = "c.pem"
[[pool]]
name = "main"
storage = "shared"
pins_file = "pins"
master_user = "m"
master_password_file = "secret"
tls_ca_file = "c.pem"
tls_cert_file = "c.pem"
tls_key_file = "c.key"
client_address = "proxy2"
[pool.health]
depth = "login"
test_user = "t"
test_password_file = "secret"
[[pool.backend]]
name = "mail1"
host = "mail1.example.org"
imap_port = 143
[[pool.backend]]
name = "mail2"
host = "mail2.example.org"
imap_port = 143
`

// run checks text in the site and returns what is found, with the file and the
// folder taken out.
func (s site) run(t *testing.T, text string, m machine) []string {
	t.Helper()
	file := filepath.Join(string(s), "f")
	c, err := Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range c.check(t.Context(), m) {
		got = append(got, strings.ReplaceAll(strings.TrimPrefix(p.String(), file+":"), string(s)+"/", ""))
	}
	return got
}

func TestCheckClean(t *testing.T) {
	if got := newSite(t).run(t, clean, quiet()); len(got) > 0 {
		t.Errorf("got\n\t%s\nwant nothing", strings.Join(got, "\n\t"))
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name     string
		old, new string                     // of clean
		site     func(*testing.T, site)     // nil: as it is
		machine  func(*testing.T, *machine) // nil: quiet
		want     []string                   // beginnings
	}{
		{
			name: "no certificate file", old: "[[certificate]]\ncert_file = \"c.pem\"", new: "[[certificate]]\ncert_file = \"x.pem\"",
			want: []string{`2:1: cert_file: read: open x.pem: no such file`},
		},
		{
			name: "key of another", old: "key_file = \"c.key\"\n[[listener]]", new: "key_file = \"d.key\"\n[[listener]]",
			site: func(t *testing.T, s site) { s.pair(t, "d", checkTime, checkTime.Add(99*24*time.Hour)) },
			want: []string{`2:1: cert_file: c.pem with d.key: tls: private key does not match public key`},
		},
		{
			name: "expired",
			site: func(t *testing.T, s site) { s.pair(t, "c", checkTime.Add(-48*time.Hour), checkTime) },
			want: []string{
				`2:1: warning: cert_file: the certificate of "mail.example.org" in c.pem expired at 2026-11-23 12:00:00 UTC, and others refuse it: renew it; it is 2026-11-23 12:00:00 UTC by the clock`,
				`16:1: tls_cert_file: the certificate of "mail.example.org" in c.pem expired at`,
			},
		},
		{
			name: "expires soon",
			site: func(t *testing.T, s site) {
				s.pair(t, "c", checkTime.Add(-76*24*time.Hour), checkTime.Add(14*24*time.Hour-time.Second))
			},
			want: []string{
				`2:1: warning: cert_file: the certificate of "mail.example.org" in c.pem expires at 2026-12-07 11:59:59 UTC, in less than 14 days`,
				`16:1: warning: tls_cert_file: `,
			},
		},
		{
			name: "short and young",
			site: func(t *testing.T, s site) {
				s.pair(t, "c", checkTime.Add(-4*24*time.Hour), checkTime.Add(2*24*time.Hour))
			},
		},
		{
			name: "short and old",
			site: func(t *testing.T, s site) {
				s.pair(t, "c", checkTime.Add(-4*24*time.Hour), checkTime.Add(2*24*time.Hour-time.Second))
			},
			want: []string{
				`2:1: warning: cert_file: the certificate of "mail.example.org" in c.pem expires at 2026-11-25 11:59:59 UTC, in less than a third of its life`,
				`16:1: warning: tls_cert_file: `,
			},
		},
		{
			name: "not yet valid",
			site: func(t *testing.T, s site) { s.pair(t, "c", checkTime.Add(time.Second), checkTime.Add(99*24*time.Hour)) },
			want: []string{
				`2:1: warning: cert_file: the certificate of "mail.example.org" in c.pem is not valid before 2026-11-23 12:00:01 UTC`,
				`16:1: tls_cert_file: `,
			},
		},
		{
			name: "key that others read",
			site: func(t *testing.T, s site) {
				if err := os.Chmod(filepath.Join(string(s), "c.key"), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{`3:1: key_file: c.key has mode 0644, so others can read it`, `17:1: tls_key_file: c.key has mode 0644`},
		},
		{
			name: "own certificate of the listener", old: `client_ca_file = "c.pem"`, new: `certificates = [{ cert_file = "x.pem", key_file = "c.key" }]`,
			want: []string{`8:19: cert_file: read: open x.pem`},
		},
		{
			name: "no directory of certificates", old: "[[certificate]]\n", new: "[[certificate]]\ncert_dir = \"x\"\n[[certificate]]\n",
			want: []string{`2:1: cert_dir: read: open x: no such file`},
		},
		{
			name: "CAs without one", old: `client_ca_file = "c.pem"`, new: `client_ca_file = "secret"`,
			want: []string{`8:1: client_ca_file: secret holds no certificate in PEM`},
		},
		{
			name: "CAs of the pool, told once", old: `tls_ca_file = "c.pem"`, new: `tls_ca_file = "x"`,
			want: []string{`15:1: tls_ca_file: read: open x`},
		},
		{
			name: "no pins", old: `pins_file = "pins"`, new: `pins_file = "."`,
			want: []string{`12:1: pins_file: `},
		},
		{
			name: "secrets that others read",
			site: func(t *testing.T, s site) { s.file(t, "secret", "hunter2\n", 0o644) },
			want: []string{`14:1: master_password_file: secret has mode 0644`, `22:1: test_password_file: secret has mode 0644`},
		},
		{
			name: "unknown host",
			machine: func(_ *testing.T, m *machine) {
				m.resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
					if host == "mail2.example.org" {
						return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
					}
					return nil, nil
				}
			},
			want: []string{`29:1: host: "mail2.example.org" does not exist`},
		},
		{
			name: "resolver in trouble",
			machine: func(_ *testing.T, m *machine) {
				m.resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("server misbehaving") }
			},
			want: []string{
				`25:1: warning: host: look up "mail1.example.org": server misbehaving`,
				`29:1: warning: host: look up "mail2.example.org": server misbehaving`,
			},
		},
		{
			name: "addresses are not looked up", old: `"mail1.example.org"`, new: `"192.0.2.9"`,
			machine: func(t *testing.T, m *machine) {
				m.resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
					if host != "mail2.example.org" {
						t.Errorf("looked up %q", host)
					}
					return nil, nil
				}
			},
		},
		{
			name: "name of our own", old: `:993"`, new: `192.0.2.1:143"`,
			want: []string{
				`4:3: warning: tls = "implicit" on port 143, where all others start in plaintext`,
				`26:1: imap_port: 192.0.2.1:143 leads back to listener imaps`,
				`30:1: imap_port: 192.0.2.1:143 leads back to listener imaps`,
			},
		},
		{
			name:    "privileged port",
			machine: func(_ *testing.T, m *machine) { m.mayBind = func(port int) bool { return port != 993 } },
			want:    []string{`6:1: warning: address: port 993 is privileged, and this process lacks CAP_NET_BIND_SERVICE`},
		},
		{
			name:    "few descriptors",
			machine: func(_ *testing.T, m *machine) { m.descriptors = func() (uint64, bool) { return 1024, true } },
			want:    []string{`1:1: warning: sessions: 50000 of them may need 300000 descriptors, and this process may open 1024`},
		},
		{
			name: "admin for all", old: "[[certificate]]", new: "[admin]\nhttp = \":9180\"\nsocket_group = \"no-such-group\"\n[[certificate]]",
			want: []string{`2:1: warning: http: :9180 is no loopback address`, `3:1: socket_group: group: unknown group no-such-group`},
		},
		{
			name: "no time for a no", old: "[[certificate]]", new: "[limits]\nlogin_time = \"30s\"\n[[certificate]]",
			want: []string{`2:1: warning: login_time: 30s may be over before a back end says no to a wrong password`},
		},
		{
			name: "no time for a no, and no guard", old: "[[certificate]]", new: "[guard]\nenabled = false\n[limits]\nlogin_time = \"30s\"\n[[certificate]]",
		},
		{
			name: "unverified", old: `tls_ca_file = "c.pem"`, new: `tls_insecure = true`,
			want: []string{
				`15:1: warning: tls_insecure: the certificate of mail1.example.org is not verified`,
				`15:1: warning: tls_insecure: the certificate of mail2.example.org is not verified`,
			},
		},
		{
			name: "plaintext to a back end", old: `"mail2.example.org"`, new: "\"mail2.example.org\"\ntls = \"none\"",
			want: []string{`30:1: warning: tls = "none": passwords go to mail2.example.org in clear`},
		},
		{
			name: "plaintext on this host", old: `"mail2.example.org"`, new: "\"::1\"\ntls = \"none\"",
		},
		{
			name: "old TLS", old: `protocol = "imap"`, new: "protocol = \"imap\"\ntls_min = \"1.1\"",
			want: []string{`8:1: warning: tls_min: TLS 1.1 is obsolete`},
		},
		{
			name: "plaintext logins and everybody trusted", old: `protocol = "imap"`,
			new: "protocol = \"imap\"\ntls = \"starttls\"\nplaintext_login = true\ntrusted_networks = [\"0.0.0.0/0\"]",
			want: []string{
				`8:1: warning: tls = "starttls" on port 993, where all others do implicit TLS`,
				`9:1: warning: plaintext_login: passwords may cross the network in clear`,
				`10:21: warning: trusted_networks: 0.0.0.0/0 is the whole Internet, and everybody in it may claim any client address`,
			},
		},
		{
			name: "no client addresses", old: "client_address = \"proxy2\"\n", new: "",
			want: []string{`9:3: warning: client_address = "none"`},
		},
		{
			name: "idle pool", old: "[[listener]]", new: "[[pool]]\nname = \"x\"\nstorage = \"local\"\nclient_address = \"proxy1\"\n" +
				"[[pool.backend]]\nname = \"b\"\nhost = \"b\"\nimap_port = 1\n[[listener]]\npool = \"main\"",
			want: []string{`4:3: warning: pool "x" is of no listener, so it serves nobody`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := newSite(t), quiet()
			if tt.site != nil {
				tt.site(t, s)
			}
			if tt.machine != nil {
				tt.machine(t, &m)
			}
			if tt.old != "" && !strings.Contains(clean, tt.old) {
				t.Fatalf("%q is not in clean", tt.old)
			}
			got := s.run(t, strings.Replace(clean, tt.old, tt.new, 1), m)
			ok := slices.EqualFunc(got, tt.want, strings.HasPrefix)
			if !ok {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
			}
			if strings.Contains(strings.Join(got, "\n"), "hunter2") {
				t.Error("a secret is told")
			}
		})
	}
}

// A dead resolver costs resolveTime, however many names there are.
func TestCheckIsBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString(clean)
	for i := range 100 {
		text.WriteString("[[pool.backend]]\nname = \"x" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + "\"\nhost = \"x" +
			string(rune('a'+i/26)) + string(rune('a'+i%26)) + "\"\nimap_port = 143\n")
	}
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		m := quiet()
		m.resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		got := s.run(t, text.String(), m)
		if took := time.Since(start); took != resolveTime {
			t.Errorf("took %v, want %v", took, resolveTime)
		}
		if len(got) != 102 {
			t.Errorf("got %d warnings, want one for each of 102 names", len(got))
		}
	})
}

// A Config that no file made has problems without a place.
func TestCheckWithoutFile(t *testing.T) {
	c := &Config{Listeners: []Listener{{Name: "x", Address: ":0", Certificates: []Certificate{{CertFile: "/none", KeyFile: "/none"}}}}}
	ps := c.check(t.Context(), quiet())
	if len(ps.Errors()) != 2 || !strings.HasPrefix(ps.Errors()[0].String(), "cert_file: read: open /none") {
		t.Errorf("got\n%v", ps)
	}
	if ps.Err() == nil || ps.Warnings().Err() != nil {
		t.Errorf("Err: got %v of all and %v of the warnings", ps.Err(), ps.Warnings().Err())
	}
}

// The real machine answers at all.
func TestThisHost(t *testing.T) {
	if !thisHost.mayBind(65535) {
		t.Error("port 65535 is privileged")
	}
	if n, ok := thisHost.descriptors(); ok && n == 0 {
		t.Error("no descriptors")
	}
	if _, err := thisHost.resolve(t.Context(), "localhost"); err != nil {
		t.Errorf("localhost: %v", err)
	}
}
