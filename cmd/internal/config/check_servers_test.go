package config

import (
	"slices"
	"strings"
	"testing"
)

func TestCheckServersOfTwoPools(t *testing.T) {
	const listeners = "[[listener]]\nname = \"imaps2\"\naddress = \":1993\"\nprotocol = \"imap\"\npool = \"second\"\n"
	second := func(host, port string) string {
		text := strings.Replace(clean, "client_ca_file = \"c.pem\"\n", "client_ca_file = \"c.pem\"\npool = \"main\"\n"+listeners, 1)
		return text + "[[pool]]\nname = \"second\"\nstorage = \"shared\"\ntls_ca_file = \"c.pem\"\nclient_address = \"proxy2\"\n" +
			"[[pool.backend]]\nname = \"a\"\nhost = \"" + host + "\"\n" + port + "\n"
	}
	const says = `is a back end of pool "main" too; a user of both pools has a place in each, so he may be on two back ends at once`
	for _, tt := range []struct {
		name, host, port string
		want             []string
	}{
		{"the same", "mail2.example.org", "imap_port = 143", []string{`45:1: warning: imap_port: mail2.example.org:143 ` + says}},
		{"another spelling", "MAIL2.example.org.", "imap_port = 143", []string{`45:1: warning: imap_port: mail2.example.org:143 ` + says}},
		{"another port", "mail2.example.org", "imap_port = 144", nil},
		{"another host", "mail3.example.org", "imap_port = 143", nil},
		{"one of two ports", "mail2.example.org", "imap_port = 144\npop3_port = 143", []string{`46:1: warning: pop3_port: mail2.example.org:143 ` + says}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newSite(t).run(t, second(tt.host, tt.port), quiet()); !slices.Equal(got, tt.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
			}
		})
	}
}
