package config

import (
	"fmt"
	"strings"
	"testing"
)

// edit is small with lines added after, or put in place of, one of its lines.
func edit(line, with string) string {
	if strings.Count(small, line+"\n") != 1 {
		panic("not one line: " + line)
	}
	return strings.Replace(small, line+"\n", with+"\n", 1)
}

// listener, pool, health and backend are small with lines added to that table.
func listener(lines string) string {
	return edit(`protocol = "imap"`, "protocol = \"imap\"\n"+lines)
}

func pool(lines string) string {
	return edit(`storage = "shared"`, "storage = \"shared\"\n"+lines)
}
func backend(lines string) string { return small + lines + "\n" }

// many is n back ends.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[pool.backend]]\nname = \"x%d\"\nhost = \"x%d\"\nimap_port = 143\n", i, i)
	}
	return b.String()
}

func TestRules(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing wrong", small, nil},

		{"socket path", "[admin]\nsocket = \"/" + strings.Repeat("a", 107) + "\"\n" + small, []string{
			"2:1: socket: a path of 108 bytes, allowed are 107: the kernel's bound for sockets",
		}},
		{"address limit above all", "[limits]\nsessions = 10\nsessions_per_address = 11\n" + small, []string{
			"3:1: sessions_per_address: 11 is more than limits.sessions, 10, which comes first",
		}},

		{"no certificate", "hostname = \"a\"\n" + small[strings.Index(small, "[[listener]]"):], []string{
			`2:3: tls = "implicit" needs a certificate: a [[certificate]] table, or certificates here`,
		}},
		{"nobody logs in", listener(`tls = "none"`), []string{
			`8:1: tls = "none" lets nobody log in: set plaintext_login, plaintext_networks or proxy_networks, or tls = "starttls"`,
		}},
		{"TLS at the balancer in front", listener("tls = \"none\"\nproxy_networks = [\"::1\"]"), nil},
		{"certificate from nowhere", "[[certificate]]\n" + small, []string{
			`1:3: a certificate comes from nowhere: want one of cert_file, cert_dir, names or on_demand, imported`,
		}},
		{"certificate without key", "[[certificate]]\ncert_file = \"/c\"\n" + small, []string{
			`1:3: key_file is missing: want the path of a file, that of cert_file if the key is in it`,
		}},
		{"key without certificate", "[[certificate]]\nkey_file = \"/k\"\n" + small, []string{
			`1:3: cert_file is missing: want the path of a file`,
		}},
		{"directory of certificates", "[[certificate]]\ncert_dir = \"/d\"\n" + small, nil},
		{"certificate of two kinds", "[[certificate]]\nkey_file = \"/k\"\ncert_dir = \"/d\"\n" + small, []string{
			`3:1: cert_dir: a certificate has one source, and this has cert_file as well: make it two of them`,
		}},
		{"own certificate of two kinds", listener(`certificates = [{ cert_file = "/c", key_file = "/k", cert_dir = "/d" }]`), []string{
			`8:54: cert_dir: a certificate has one source, and this has cert_file as well: make it two of them`,
		}},
		{"certificate without TLS", listener("tls = \"none\"\nplaintext_login = true\ncertificates = [{ cert_file = \"/c\", key_file = \"/k\" }]"), []string{
			`10:1: certificates has no meaning with tls = "none"`,
		}},
		{"client certificates without TLS", listener("tls = \"none\"\nplaintext_login = true\nclient_ca_file = \"/ca\""), []string{
			`10:1: client_ca_file has no meaning with tls = "none"`,
		}},
		{"plaintext on implicit TLS", listener("plaintext_login = true\nplaintext_networks = [\"::1\"]"), []string{
			`8:1: plaintext_login has no meaning with tls = "implicit", where all is TLS`,
			`9:1: plaintext_networks has no meaning with tls = "implicit", where all is TLS`,
		}},
		{"plaintext twice", listener("tls = \"starttls\"\nplaintext_login = true\nplaintext_networks = [\"::1\"]"), []string{
			`10:1: plaintext_networks narrows nothing with plaintext_login, which lets everybody: set one of them`,
		}},
		{"listener limit above all", listener("sessions = 50001"), []string{
			`8:1: sessions: 50001 is more than limits.sessions, 50000, which comes first`,
		}},
		{"mechanism twice", listener(`mechanisms = ["PLAIN", "LOGIN", "PLAIN"]`), []string{
			`8:33: mechanisms: PLAIN is there twice`,
		}},
		{"mechanism in lower case", listener(`mechanisms = ["plain"]`), []string{
			`8:15: mechanisms: want one of "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-1", "SCRAM-SHA-256" or "EXTERNAL", got "plain"; did you mean "PLAIN"?`,
		}},
		{"EXTERNAL without certificates", listener(`mechanisms = ["EXTERNAL"]`), []string{
			`8:15: mechanisms: EXTERNAL needs client_ca_file`,
		}},
		{"EXTERNAL without master user", listener(`client_ca_file = "/ca"`), []string{
			`8:1: client_ca_file: EXTERNAL logs in with the master user of the pool, and pool "main" has none`,
		}},
		{"client certificates without EXTERNAL", listener("client_ca_file = \"/ca\"\nmechanisms = [\"PLAIN\"]") +
			"[[pool]]\nname = \"x\"\nstorage = \"local\"\n[[pool.backend]]\nname = \"b\"\nhost = \"b\"\nimap_port = 1\n", []string{
			`4:3: pool is missing: want one of "main" or "x"`,
			`8:1: client_ca_file is for EXTERNAL, which mechanisms leaves out`,
		}},
		{"same listener twice", small + small[strings.Index(small, "[[listener]]"):strings.Index(small, "[[pool]]")], []string{
			`16:1: name: listener "imaps" exists already, at line 5`,
			`17:1: address: [::]:993 is taken by listener imaps ([::]:993)`,
		}},
		{"one address of all", small + "[[listener]]\nname = \"x\"\nprotocol = \"imap\"\naddress = \"192.0.2.1:993\"\n", []string{
			`18:1: address: 192.0.2.1:993 is taken by listener imaps ([::]:993)`,
		}},
		{"listener on admin's", "[admin]\nhttp = \"127.0.0.1:993\"\n" + small, []string{
			`8:1: address: [::]:993 is taken by admin.http (127.0.0.1:993)`,
		}},
		{"free ports", "[admin]\nhttp = \"127.0.0.1:0\"\n" + edit(`address = ":993"`, `address = "127.0.0.1:0"`), nil},
		{"two addresses", edit(`address = ":993"`, `address = "192.0.2.1:993"`) +
			"[[listener]]\nname = \"x\"\nprotocol = \"imap\"\naddress = \"[2001:db8::1]:993\"\n", nil},
		{"protocol without port", edit(`protocol = "imap"`, `protocol = "pop3"`), []string{
			`11:8: pop3_port is missing: listener "imaps" sends users of pool "main" here over pop3`,
		}},

		{"pool without back ends", small[:strings.Index(small, "[[pool.backend]]")], []string{
			`8:3: pool "main" has no [[pool.backend]]: want at least one`,
		}},
		{"no weight", backend("weight = 0"), []string{
			`15:1: weight: all of pool "main" are 0, so no user has a place there`,
		}},
		{"a weight", backend("weight = 0\n[[pool.backend]]\nname = \"mail2\"\nhost = \"b\"\nimap_port = 1"), nil},
		{"too many back ends", small + many(1024), []string{
			`8:3: pool "main" has 1025 back ends, allowed are 1024: every login looks at each`,
		}},
		{"same pool twice", small + small[strings.Index(small, "[[pool]]"):], []string{
			`4:3: pool is missing: want one of "main"`,
			`16:1: name: pool "main" exists already, at line 9`,
		}},
		{"master user without password", pool("master_user = \"m\"\nmaster_separator = \"*\""), []string{
			`11:1: master_user needs master_password_file`,
		}},
		{"master password without user", pool("master_password_file = \"/m\"\nmaster_separator = \"*\""), []string{
			`11:1: master_password_file needs master_user`,
			`12:1: master_separator needs master_user`,
		}},
		{"test user without password", pool("health = { test_user = \"t\", depth = \"login\" }"), []string{
			`11:12: test_user needs test_password_file`,
		}},
		{"test password without user", pool("health.test_password_file = \"/t\""), []string{
			`11:8: test_password_file needs test_user`,
		}},
		{"depth login without test user", pool("health.depth = \"login\""), []string{
			`11:8: depth = "login" needs test_user and test_password_file`,
		}},
		{"timeout above interval", pool("health.timeout = \"11s\""), []string{
			`11:8: timeout: a probe may take 11s, which is more than the interval, 4s`,
		}},
		{"interval below timeout", pool("health.interval = \"1s\""), []string{
			`11:8: interval: a probe may take 2s, which is more than the interval, 1s`,
		}},

		{"TLS settings of a plaintext pool", pool("tls = \"none\"\ntls_ca_file = \"/ca\"\ntls_name = \"x\"\ntls_cert_file = \"/c\"\ntls_key_file = \"/k\""), []string{
			`12:1: tls_ca_file has no meaning with tls = "none"`,
			`13:1: tls_name has no meaning with tls = "none"`,
			`14:1: tls_cert_file has no meaning with tls = "none"`,
			`15:1: tls_key_file has no meaning with tls = "none"`,
		}},
		{"TLS settings for one of a plaintext pool", pool("tls = \"none\"\ntls_ca_file = \"/ca\"") + "tls = \"implicit\"\n", nil},
		{"TLS settings of a plaintext back end", backend("tls = \"none\"\ntls_insecure = true"), []string{
			`16:1: tls_insecure has no meaning with tls = "none"`,
		}},
		{"CA and insecure", pool("tls_ca_file = \"/ca\"\ntls_insecure = true"), []string{
			`11:1: tls_ca_file verifies what tls_insecure does not: set one of them`,
		}},
		{"insecure against the pool's CA", pool("tls_ca_file = \"/ca\"") + "tls_insecure = true\n", []string{
			`16:1: tls_ca_file verifies what tls_insecure does not: set one of them`,
		}},
		{"client certificate without key", pool("tls_cert_file = \"/c\""), []string{`11:1: tls_cert_file needs tls_key_file`}},
		{"client key without certificate", backend("tls_key_file = \"/k\""), []string{`15:1: tls_key_file needs tls_cert_file`}},
		{"client key of the back end", pool("tls_cert_file = \"/c\"\ntls_key_file = \"/k\"") + "tls_key_file = \"/own\"\n", nil},

		{"no port", strings.ReplaceAll(small, "imap_port = 143\n", ""), []string{
			`11:8: imap_port is missing: listener "imaps" sends users of pool "main" here over imap`,
		}},
		{"no port in a pool of no listener", small + "[[pool]]\nname = \"x\"\nstorage = \"local\"\n[[pool.backend]]\nname = \"b\"\nhost = \"b\"\n", []string{
			`4:3: pool is missing: want one of "main" or "x"`,
			`18:8: a port is missing: want imap_port, pop3_port or both`,
		}},
		{"one port", backend("pop3_port = 143"), []string{
			`15:1: pop3_port: 143 is the port of IMAP`,
		}},
		{"back end limit above all", backend("sessions = 50001"), []string{
			`15:1: sessions: 50001 is more than limits.sessions, 50000, which comes first`,
		}},
		{"same back end twice", small + small[strings.Index(small, "[[pool.backend]]"):], []string{
			`16:1: name: back end "mail1" exists already, at line 12`,
			`18:1: imap_port: mail1.example.org port 143 is a back end already, at line 14: one server, one name`,
		}},
		{"circle", strings.Replace(strings.Replace(small, "143", "993", 1), "mail1.example.org", "127.0.0.1", 1), []string{
			`14:1: imap_port: 127.0.0.1:993 leads back to listener imaps, so sessions would run in a circle`,
		}},
		{"circle by name", strings.Replace(strings.Replace(small, "143", "993", 1), "mail1.example.org", "localhost", 1), []string{
			`14:1: imap_port: [::1]:993 leads back to listener imaps, so sessions would run in a circle`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.text, tt.want...) })
	}
}

// What follows only from a key that is wrong itself is not told again.
func TestNoEcho(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no certificate for a wrong mode", strings.TrimPrefix(listener(`tls = "implict"`), small[:strings.Index(small, "[[listener]]")]), `5:1: tls: `},
		{"no port for a wrong one", edit("imap_port = 143", `imap_port = "143"`), `14:1: imap_port: `},
		{"no listener for a wrong list", "listener = 5\n" + small[strings.Index(small, "[[pool]]"):], `1:1: listener: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := problems(t, tt.text); len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got\n\t%s\nwant one, %s…", strings.Join(got, "\n\t"), tt.want)
			}
		})
	}
}
