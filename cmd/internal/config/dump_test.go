package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What Dump writes is the same configuration, also when read from elsewhere.
func TestDumpRoundTrip(t *testing.T) {
	example, err := os.ReadFile("../../../docs/usher.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, text string }{
		{"small", small},
		{"example", string(example)},
		{"reference", Reference()},
		{"overrides", `hostname = "a.example"
[limits]
sessions = 7
idle = "1h"
` + pool("tls_ca_file = \"/ä \\\"b\\\\\"\ntls_name = \"x\"\nimap_capabilities = [\"LITERAL+\"]") + `tls = "none"
[[pool.backend]]
name = "mail2"
host = "2001:db8::1"
imap_port = 143
tls_name = ""
[[listener]]
name = "plain"
address = "127.0.0.1:143"
protocol = "imap"
tls = "none"
plaintext_networks = ["::1", "10.0.0.0/8"]
mechanisms = ["PLAIN"]
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("/etc/usher/usher.toml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse("/elsewhere/x.toml", []byte(c.Dump()))
			if err != nil {
				t.Fatalf("%v\n%s", err, c.Dump())
			}
			c.source, again.source = source{}, source{}
			if got, want := again.Dump(), c.Dump(); got != want {
				t.Errorf("dump of the dump: got\n%s\nwant\n%s", got, want)
			}
			if len(c.Pools[0].Backends) != len(again.Pools[0].Backends) || !reflect.DeepEqual(c.Limits, again.Limits) ||
				!reflect.DeepEqual(c.Pools[0].Backends, again.Pools[0].Backends) {
				t.Errorf("got %+v, want %+v", again, c)
			}
		})
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                      "0s",
		100 * time.Millisecond: "100ms",
		30 * time.Second:       "30s",
		90 * time.Second:       "1m30s",
		35 * time.Minute:       "35m",
		time.Hour:              "1h",
		20 * time.Hour:         "20h",
		time.Hour + 10*time.Minute + 10*time.Second: "1h10m10s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestNeedsRestart(t *testing.T) {
	old := mustParse(t, small)
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", small, ""},
		{"what SIGHUP takes up", "drain = \"1s\"\n[log]\nlevel = \"warn\"\n[limits]\nsessions = 9\n" + pool("tls = \"implicit\""), ""},
		{"what it cannot", "[log]\nformat = \"json\"\n[users]\nstrip_domain = \"*\"\n[admin]\nsocket = \"/x\"\nsocket_mode = \"0660\"\n" + small, "log.format admin.socket admin.socket_mode users.strip_domain"},
	} {
		if got := strings.Join(NeedsRestart(old, mustParse(t, tt.text)), " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
