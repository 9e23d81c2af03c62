package config

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
)

const addedTo = `
[[listener]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:10993"
tls = "none"
plaintext_login = true

[[pool]]
name = "main"
storage = "shared"
tls_name = "pool.example.org"
client_address = "proxy2"
[[pool.backend]]
name = "mail1"
host = "192.0.2.1"
imap_port = 143
`

func base(t testing.TB) *Config {
	t.Helper()
	c, err := Parse("usher.toml", []byte(addedTo))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is added has all that the pool says, but what it says itself, and is judged like
// a back end of the file.
func TestWith(t *testing.T) {
	c := base(t)
	good := Addition{Pool: "main", Name: "mail2", Host: "192.0.2.2", IMAPPort: 143}
	n, err := c.With(good)
	if err != nil {
		t.Fatal(err)
	}
	b := n.Backend("main", "mail2")
	if b == nil || b.Weight != 100 || b.TLSName != "pool.example.org" || b.ClientAddress != AddressProxy2 || b.TLS != TLSStart {
		t.Errorf("got %+v", b)
	}
	if c.Backend("main", "mail2") != nil || len(c.Pools[0].Backends) != 1 {
		t.Error("the configuration has changed")
	}
	named := good
	named.TLSName, named.Weight = "own.example.org", new(int)
	if n, err = c.With(named); err != nil || n.Backend("main", "mail2").TLSName != "own.example.org" || n.Backend("main", "mail2").Weight != 0 {
		t.Errorf("got %+v, %v", n, err)
	}
	// One after the other, and what comes of it is dumped like a file.
	third := Addition{Pool: "main", Name: "mail3", Host: "192.0.2.3", IMAPPort: 143}
	if n, err = n.With(third); err != nil {
		t.Fatal(err)
	}
	again, err := Parse("dump", []byte(n.Dump()))
	if err != nil || len(again.Pools[0].Backends) != 3 || again.Backend("main", "mail2").TLSName != "own.example.org" {
		t.Errorf("the dump is read as %+v, %v", again, err)
	}
	for _, tt := range []struct {
		change func(a *Addition)
		want   string
	}{
		{func(a *Addition) { a.Pool = "other" }, `no pool "other"`},
		{func(a *Addition) { a.Name = "mail1" }, "exists already"},
		{func(a *Addition) { a.Name = "a b" }, "want a name"},
		{func(a *Addition) { a.Host = "" }, "want a host"},
		{func(a *Addition) { a.Host = "192.0.2.1" }, "one server, one name"},
		{func(a *Addition) { a.IMAPPort = 65536 }, "out of range"},
		{func(a *Addition) { a.IMAPPort = -1 }, "out of range"},
		{func(a *Addition) { a.IMAPPort, a.POP3Port = 0, 110 }, "imap_port is missing"},
		{func(a *Addition) { a.TLSName = "\n" }, "want a host"},
		{func(a *Addition) { n := 1001; a.Weight = &n }, "out of range"},
		{func(a *Addition) { a.Sessions = 50_001 }, "limits.sessions"},
		{func(a *Addition) { a.Host, a.IMAPPort = "127.0.0.1", 10993 }, "circle"},
		{func(a *Addition) { a.IMAPPort = 0 }, "imap_port is missing"},
	} {
		a := good
		tt.change(&a)
		if _, err := c.With(a); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", a, err, tt.want)
		}
	}
}

// A node looks a back end's name up for itself; that of others is not its matter.
func TestCheckBackend(t *testing.T) {
	c := base(t)
	for host, want := range map[string]string{
		"192.0.2.7": "", "known.example.org": "", "gone.example.org": "does not exist", "slow.example.org": "timeout", "self.example.org": "circle",
	} {
		n, err := c.With(Addition{Pool: "main", Name: "mail2", Host: host, IMAPPort: 10993})
		if err != nil {
			t.Fatal(err)
		}
		m := machine{resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "gone.example.org":
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			case "slow.example.org":
				return nil, &net.DNSError{Err: "timeout", IsTimeout: true}
			case "self.example.org":
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
		}}
		got := n.checkBackend(t.Context(), m, "main", "mail2")
		if (want == "") != (len(got) == 0) || !strings.Contains(got.Error(), want) || len(got.Warnings()) > 0 {
			t.Errorf("%s: %v, want %q", host, got, want)
		}
	}
}

// FuzzDefinition has another node store a definition.
func FuzzDefinition(f *testing.F) {
	c := base(f)
	const key = "backends/main/mail2"
	for _, s := range []string{
		`{"pool":"main","name":"mail2","host":"192.0.2.2","imap_port":143,"live":true}`,
		`{"pool":"main","name":"mail2","host":"192.0.2.2","imap_port":143,"weight":0,"sessions":7,"tls_name":"a.example","live":false,"by":"ann","at":7}`,
		`{"pool":"main","name":"mail1","host":"x"}`, `{"pool":"main","name":"mail2","tls":"none"}`, `[]`, `{} {}`, "\x00", `{"host":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ParseDefinition(key, text)
		if err != nil {
			return
		}
		if again, err := ParseDefinition(key, d.Format()); len(d.Format()) <= MaxDefinition && (err != nil || !again.Same(d.Addition) || again.Live != d.Live || again.By != d.By) {
			t.Fatalf("%+v is %+v after it was written and read: %v", d, again, err)
		}
		n, err := c.With(d.Addition)
		if err != nil {
			return
		}
		b := n.Backend("main", "mail2")
		if b == nil || b.TLS != TLSStart || b.TLSInsecure || b.ClientAddress != AddressProxy2 || !isHost(b.Host) || len(n.Pools[0].Backends) != 2 {
			t.Fatalf("%s is %+v", text, b)
		}
	})
}
