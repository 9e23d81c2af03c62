package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// small is the least that is right: 14 lines, to which tests add.
const small = `[[certificate]]
cert_file = "/c.pem"
key_file = "/c.key"
[[listener]]
name = "imaps"
address = ":993"
protocol = "imap"
[[pool]]
name = "main"
storage = "shared"
[[pool.backend]]
name = "mail1"
host = "mail1.example.org"
imap_port = 143
`

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("usher.toml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, small)
	link := Link{TLS: TLSStart, TLSMin: TLS12, ClientAddress: AddressNone}
	want := Config{
		Drain:    30 * time.Second,
		Withdraw: 8 * time.Second,
		DataPath: PathAuto,
		Log:      Log{Level: LogInfo, Format: LogText},
		Admin:    Admin{Socket: "/run/usher/usher.sock", SocketMode: 0o600, HTTP: "127.0.0.1:9180"},
		Limits: Limits{
			Sessions: 50000, SessionsPerUser: 200, Prelogin: 5000,
			LoginTime: time.Minute, Idle: 35 * time.Minute,
			DialTimeout: 5 * time.Second, DialTries: 3, DialWait: time.Second,
			BackendLoginTime: 30 * time.Second,
		},
		Guard: Guard{Enabled: true},
		Users: Users{LowerCase: true},
		Fleet: Fleet{
			Bind: ":7946", WhenIsolated: IsolatedServe,
			Retention: 15 * time.Minute, KickDelay: 2 * time.Second,
		},
		ACME:         ACME{HTTP: ":80", DNS: ACMEDNS{TSIGAlgorithm: HMACSHA256, Wait: 2 * time.Minute}},
		Certificates: []Certificate{{CertFile: "/c.pem", KeyFile: "/c.key"}},
		Listeners: []Listener{{
			Name: "imaps", Address: ":993", Protocol: IMAP, TLS: TLSImplicit, TLSMin: TLS12,
			Certificates: []Certificate{{CertFile: "/c.pem", KeyFile: "/c.key"}},
			Pool:         "main",
		}},
		Pools: []Pool{{
			Name: "main", Storage: Shared, Link: link,
			Health: Health{
				Interval: 4 * time.Second, FastInterval: time.Second, Timeout: 2 * time.Second,
				Rise: 3, Fall: 3, Depth: DepthGreeting,
			},
			Backends: []Backend{{
				Name: "mail1", Host: "mail1.example.org", IMAPPort: 143, Weight: 100, Link: link,
			}},
		}},
		source: c.source,
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", *c, want)
	}
}

func TestValues(t *testing.T) {
	c := mustParse(t, `drain = "1m30s"
[admin]
socket_mode = "0660"
http = ""
[users]
lower_case = false
`+strings.Replace(small, `protocol = "imap"`, `protocol = "imap"
tls = "starttls"
plaintext_networks = ["127.0.0.0/8", "::1", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120"]
mechanisms = ["PLAIN", "SCRAM-SHA-256"]
`, 1))
	if got, want := c.Drain, 90*time.Second; got != want {
		t.Errorf("drain: got %v, want %v", got, want)
	}
	if got, want := c.Admin.SocketMode, fs.FileMode(0o660); got != want {
		t.Errorf("socket_mode: got %v, want %v", got, want)
	}
	if c.Admin.HTTP != "" {
		t.Errorf("http: got %q, want none", c.Admin.HTTP)
	}
	if c.Users.LowerCase {
		t.Error("lower_case: got true, want false")
	}
	l := c.Listeners[0]
	nets := []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
		netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.0/24"),
	}
	if !reflect.DeepEqual(l.PlaintextNetworks, nets) {
		t.Errorf("plaintext_networks: got %v, want %v", l.PlaintextNetworks, nets)
	}
	if want := []Mechanism{Plain, ScramSHA256}; !reflect.DeepEqual(l.Mechanisms, want) {
		t.Errorf("mechanisms: got %v, want %v", l.Mechanisms, want)
	}
}

// A back end has its pool's link settings, key by key, unless it has its own.
func TestInheritance(t *testing.T) {
	c := mustParse(t, `[limits]
sessions = 100
[[certificate]]
cert_file = "/c.pem"
key_file = "/c.key"
[[listener]]
name = "own"
address = ":993"
protocol = "imap"
certificates = [{ cert_file = "/own.pem", key_file = "/own.key" }]
[[listener]]
name = "plain"
address = ":143"
protocol = "imap"
tls = "none"
plaintext_login = true
[[pool]]
name = "main"
storage = "local"
tls = "implicit"
tls_ca_file = "/ca.pem"
tls_name = "mail.internal"
client_address = "proxy2"
[[pool.backend]]
name = "a"
host = "a"
imap_port = 993
[[pool.backend]]
name = "b"
host = "b"
imap_port = 993
tls_name = ""
client_address = "command"
[[pool.backend]]
name = "c"
host = "::1"
imap_port = 144
tls = "none"
`)
	if got := c.Limits.Prelogin; got != 100 {
		t.Errorf("prelogin: got %d, want the 100 of sessions", got)
	}
	if got := c.Listeners[0].Certificates; len(got) != 1 || got[0].CertFile != "/own.pem" {
		t.Errorf("own certificates: got %v", got)
	}
	if got := c.Listeners[1].Certificates; len(got) != 0 {
		t.Errorf("certificates without TLS: got %v", got)
	}
	want := []Link{
		{TLS: TLSImplicit, TLSMin: TLS12, TLSCAFile: "/ca.pem", TLSName: "mail.internal", ClientAddress: AddressProxy2},
		{TLS: TLSImplicit, TLSMin: TLS12, TLSCAFile: "/ca.pem", ClientAddress: AddressCommand},
		{TLS: TLSNone, TLSMin: TLS12, ClientAddress: AddressProxy2},
	}
	for i, be := range c.Pools[0].Backends {
		if be.Link != want[i] {
			t.Errorf("back end %s: got %+v, want %+v", be.Name, be.Link, want[i])
		}
	}
}

func TestRelativePaths(t *testing.T) {
	text := strings.Replace(small, "/c.pem", "tls/c.pem", 1)
	for _, tt := range []struct{ file, want string }{
		{"/etc/usher/usher.toml", "/etc/usher/tls/c.pem"},
		{"site/usher.toml", "site/tls/c.pem"},
		{"", "tls/c.pem"},
	} {
		c, err := Parse(tt.file, []byte(text))
		if err != nil {
			t.Fatalf("Parse: %v", err)
		}
		if got := c.Certificates[0].CertFile; got != tt.want {
			t.Errorf("in %q: got %q, want %q", tt.file, got, tt.want)
		}
		if got := c.Certificates[0].KeyFile; got != "/c.key" {
			t.Errorf("in %q: absolute path became %q", tt.file, got)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usher.toml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(path, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("good file: %v", err)
	}
	if _, err := Load(filepath.Dir(path)); err == nil {
		t.Error("directory: got no error")
	}
	if err := os.WriteFile(path, []byte("drain = 3\n"+strings.Repeat("# filler\n", MaxFile/9)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if want := path + ": the file is larger than 262144 bytes, which no configuration needs"; err == nil || err.Error() != want {
		t.Errorf("large file: got %v, want %s", err, want)
	}
}

func TestExample(t *testing.T) {
	if _, err := Load("../../../docs/usher.example.toml"); err != nil {
		t.Error(err)
	}
}
