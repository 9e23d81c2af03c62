package config

import (
	"strings"
	"testing"
)

// problems parses text and returns what is wrong, without the file's name.
func problems(t *testing.T, text string) []string {
	t.Helper()
	_, err := Parse("f", []byte(text))
	if err == nil {
		return nil
	}
	return strings.Split(strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")[1:], "\n")
}

func check(t *testing.T, text string, want ...string) {
	t.Helper()
	got := problems(t, text)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// All kinds of problem, in one file, told at once and in its order.
func TestAllAtOnce(t *testing.T) {
	check(t, `drian = "30s"
drain = 30
[limits]
idle = "20m"
sessions = 10
prelogin = 20
[log]
level = "inof"
format = true
[users]
default_domain = "example.org"
strip_domain = "*"
certificates = []
colour = "red"
[[listener]]
name = "imaps"
adress = ":993"
protocol = "imap"
proxy_networks = ["192.0.2.0/24", "192.0.2.1/24", "x", 5]
pool = "mian"
[[pool]]
name = "main"
storage = "shared"
tls = "none"
tls_insecure = true
[pool.health]
rise = 0
depth = "login"
[[pool.backend]]
name = "mail 1"
host = "mail1.example.org:143"
imap_port = 143.5
weight = -1
[[pool.backend]]
name = "mail2"
host = "192.0.2.7"
imap_port = 70000
`,
		`1:1: unknown key "drian"; did you mean "drain"?`,
		`2:1: drain: want a duration such as "30s" or "1h30m", got the number 30`,
		`4:1: idle: 20m0s is out of range, allowed is 31m to 24h: RFC 9051 §5.4 gives clients at least 30 minutes`,
		`6:1: prelogin: 20 is more than limits.sessions, 10, which comes first`,
		`8:1: level: want one of "debug", "info", "warn" or "error", got "inof"; did you mean "info"?`,
		`9:1: format: want one of "text" or "json", got true`,
		`11:1: default_domain adds what strip_domain takes away: set one of them`,
		`13:1: unknown key "certificates"; it belongs in [[listener]]`,
		`14:1: unknown key "colour"; allowed here: lower_case, default_domain, strip_domain`,
		`15:3: address is missing: want an address and a port, such as "192.0.2.1:993", "[2001:db8::1]:993" or ":993" for all addresses`,
		`15:3: tls = "implicit" needs a certificate: a [[certificate]] table, or certificates here`,
		`17:1: unknown key "adress"; did you mean "address"?`,
		`19:35: proxy_networks: "192.0.2.1/24" has bits beyond its mask; did you mean "192.0.2.0/24", or the address without the mask?`,
		`19:51: proxy_networks: want a network or an address, such as "192.0.2.0/24" or "2001:db8::1", got "x"`,
		`19:56: proxy_networks: want a network or an address, such as "192.0.2.0/24" or "2001:db8::1", got the number 5`,
		`20:1: pool: "mian" is unknown, want one of "main"; did you mean "main"?`,
		`25:1: tls_insecure has no meaning with tls = "none"`,
		`27:1: rise: 0 is out of range, allowed is 1 to 100`,
		`28:1: depth = "login" needs test_user and test_password_file`,
		`30:1: name: want a name of at most 64 letters, digits, ".", "-" and "_", got "mail 1"`,
		`31:1: host: want a host name or address without a port, such as "mail1.example.org" or "192.0.2.1", got "mail1.example.org:143"`,
		`32:1: imap_port: want a whole number, got the number 143.5`,
		`33:1: weight: -1 is out of range, allowed is 0 to 1000`,
		`37:1: imap_port: 70000 is out of range, allowed is 0 to 65535`,
	)
}

func TestEmpty(t *testing.T) {
	check(t, "", `1:1: no [[listener]]: want at least one`, `1:1: no [[pool]]: want at least one`)
}

func TestWrongShapes(t *testing.T) {
	check(t, `log = "info"
pool = 3
certificate = [{ cert_file = "/c.pem", key_file = "/k.pem" }, 7]
drain = 1979-05-27
hostname = ["a"]
[listener]
name = "x"
[admin]
socket.path = "/run/x"
`,
		`1:1: log: want a table, [log], got "info"`,
		`2:1: pool: want a list of tables, [[pool]], got the number 3`,
		`3:63: certificate: want a table, got the number 7`,
		`4:1: drain: want a duration such as "30s" or "1h30m", got a date or time`,
		`5:1: hostname: want a host name such as "mail.example.org", got a list`,
		`6:2: listener: want a list of tables, [[listener]], got a table`,
		`9:1: socket: want the path of a file, got a table`,
	)
}

// Keys may be written in any of TOML's ways.
func TestSpellings(t *testing.T) {
	check(t, `admin.socket = 1
"limits" . 'idle' = 2
log = { level = 3, format = 4 }
certificate = [
  { cert_file = 5, key_file = "/k" },
  { cert_file = "/c", key_file = 6, "odd key.x" = 7 },
]
`+strings.Replace(small[strings.Index(small, "[[listener]]"):], `"shared"`, "8", 1),
		`1:7: socket: want the path of a file, got the number 1`,
		`2:12: idle: want a duration such as "30s" or "1h30m", got the number 2`,
		`3:9: level: want one of "debug", "info", "warn" or "error", got the number 3`,
		`3:20: format: want one of "text" or "json", got the number 4`,
		`5:5: cert_file: want the path of a file, got the number 5`,
		`6:23: key_file: want the path of a file, got the number 6`,
		`6:37: unknown key "odd key.x"; allowed here: cert_file, key_file, cert_dir, names, on_demand, on_demand_file, imported`,
		`14:1: storage: want one of "shared" or "local", got the number 8`,
	)
}

// After an error of syntax, what stands above it is judged key by key, and
// nothing is said about what may stand below.
func TestSyntax(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{
			"no value", "drian = 1\n[[listener]]\nname = 5\naddress =\nprotocol = 7\n",
			[]string{
				`1:1: unknown key "drian"; did you mean "drain"?`,
				`3:1: name: want a name of at most 64 letters, digits, ".", "-" and "_", got the number 5`,
				`4:10: `,
			},
		},
		{"twice", "drain = \"1s\"\n[log]\nlevel = \"info\"\nlevel = \"warn\"\n", []string{`4:1: `}},
		{"open string", `hostname = "a`, []string{`1:`}},
		{"open list", "drian = 1\nx = [\n1,\n2", []string{`4:1`}},
		{"not UTF-8", "hostname = \"\xff\"\n", []string{`1:13: `}},
		{"NUL", "hostname = \"a\x00b\"\n", []string{`1:14: `}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := problems(t, tt.text)
			if len(got) != len(tt.want) {
				t.Fatalf("got\n\t%s\nwant %d", strings.Join(got, "\n\t"), len(tt.want))
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("got %s, want %s…", got[i], tt.want[i])
				}
			}
		})
	}
}

// What could break a protocol line, a label or a log is no value.
func TestForms(t *testing.T) {
	for _, tt := range []struct {
		form      string
		good, bad []string
	}{
		{"name", []string{"a", "imap-1.x_Y"}, []string{"a b", "ä", "a\n", strings.Repeat("a", 65), `a"`}},
		{
			"domain",
			[]string{"localhost", "mail.example.org", "mail.example.org.", "a_b.c"},
			[]string{".", "a..b", "-a", "a-", "a\r\n", "joe@example.org", strings.Repeat("a", 64), strings.Repeat("a.", 128)},
		},
		{
			"host",
			[]string{"mail", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "1.example"},
			[]string{"[::1]", "192.0.2.1:143", "192.0.2", "192.0.2.256", "a/b"},
		},
		{
			"listen",
			[]string{":993", "0.0.0.0:993", "[::]:993", "[fe80::1%eth0]:993", "127.0.0.1:0"},
			[]string{"993", "mail:993", "::1:993x", ":imaps", ":65536", ":-1", "192.0.2.1", "192.0.2.1:"},
		},
		{"strip", []string{"*", "example.org"}, []string{"**", "*.example.org", "@example.org"}},
		{"path", []string{"/a b/ä", "x"}, []string{"/a\x00", "/a\n", "/\xff", strings.Repeat("a", 4097)}},
		{"word", []string{"joe@example.org", "Joe Doe"}, []string{"a\x00b", "a\r\n", "\xff", strings.Repeat("a", 256)}},
		{"separator", []string{"*", "%%"}, []string{"a", "@", " ", "\n", "*********"}},
		{"capability", []string{"IMAP4rev1", "AUTH=PLAIN", "LITERAL+"}, []string{"", "a b", "a)", "a\r", "ä", `a"`}},
		{"capa", []string{"UIDL", "SASL PLAIN LOGIN"}, []string{"", ".", " a", "a\r\nb", "ä"}},
	} {
		for _, s := range tt.good {
			if !forms[tt.form].check(s) {
				t.Errorf("%s: %q is refused", tt.form, s)
			}
		}
		for _, s := range tt.bad {
			if forms[tt.form].check(s) {
				t.Errorf("%s: %q is taken", tt.form, s)
			}
		}
	}
}

func TestSuggestion(t *testing.T) {
	known := []string{"address", "name", "tls", "tls_min", "proxy_networks"}
	for _, tt := range []struct{ word, want string }{
		{"adress", "address"},
		{"Name", "name"},
		{"nmae", "name"},
		{"tls-min", "tls_min"},
		{"proxy_network", "proxy_networks"},
		{"colour", ""},
		{"x", ""},
		{"", ""},
		{strings.Repeat("name", 100), ""},
	} {
		if got, _ := closest(tt.word, known); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.word, got, tt.want)
		}
	}
}
