package pop3

import (
	"slices"
	"strings"
	"testing"

	"usher.example/sniff"
)

func TestOffer(t *testing.T) {
	dovecot := []string{"CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "STLS", "USER", "SASL PLAIN LOGIN"}
	for _, tt := range []struct {
		name       string
		backends   [][]string
		mechanisms string
		lines      string
	}{
		{"nobody is known", [][]string{nil, nil}, "PLAIN LOGIN command EXTERNAL", "TOP|UIDL"},
		{"no back ends", nil, "PLAIN LOGIN command EXTERNAL", "TOP|UIDL"},
		{"one", [][]string{dovecot}, "PLAIN LOGIN command EXTERNAL", "TOP|UIDL|PIPELINING"},
		{"an unknown one does not count", [][]string{nil, dovecot}, "PLAIN LOGIN command EXTERNAL", "TOP|UIDL|PIPELINING"},
		{"a server without CAPA takes much away", [][]string{dovecot, byRFC1939()}, "PLAIN LOGIN command EXTERNAL", ""},
		{
			"relayed mechanisms only if all have them",
			[][]string{{"USER", "SASL PLAIN SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER"}, {"user", "sasl scram-sha-256 oauthbearer"}},
			"SCRAM-SHA-256 OAUTHBEARER PLAIN LOGIN command EXTERNAL", "",
		},
		{"-PLUS and what speaks first are hidden", [][]string{{"USER", "SASL SCRAM-SHA-256-PLUS CRAM-MD5 GSSAPI NTLM"}}, "PLAIN LOGIN command EXTERNAL", ""},
		{"one takes passwords by SASL only", [][]string{{"USER"}, {"SASL PLAIN"}}, "PLAIN LOGIN command EXTERNAL", ""},
		{"one takes no passwords", [][]string{dovecot, {"TOP", "SASL SCRAM-SHA-256"}}, "EXTERNAL", "TOP"},
		{"one lists nothing", [][]string{dovecot, {}}, "EXTERNAL", ""},
		{
			"arguments",
			[][]string{
				{"USER", "UTF8 USER", "EXPIRE 60", "LOGIN-DELAY 300", "LANG", "IMPLEMENTATION x"},
				{"USER", "utf8", "expire 60", "LOGIN-DELAY 600", "LANG", "IMPLEMENTATION x"},
			},
			"PLAIN LOGIN command EXTERNAL", "EXPIRE 60|UTF8|LANG",
		},
		{"UTF8 USER where all say so", [][]string{{"USER", "UTF8 USER"}, {"USER", "UTF8 USER"}}, "PLAIN LOGIN command EXTERNAL", "UTF8 USER"},
	} {
		o := Protocol{}.Offer(tt.backends)
		var mechs []string
		for _, m := range o.Mechanisms {
			mechs = append(mechs, string(m))
		}
		if got := strings.Join(mechs, " "); got != tt.mechanisms {
			t.Errorf("%s: mechanisms %s, want %s", tt.name, got, tt.mechanisms)
		}
		if got := strings.Join(o.Capabilities, "|"); got != tt.lines {
			t.Errorf("%s: capabilities %s, want %s", tt.name, got, tt.lines)
		}
	}
}

// What a probe reports is what a login then works with: nobody is offered what
// the back end behind refuses for lack of it.
func TestOfferedIsCarried(t *testing.T) {
	for _, capa := range [][]string{{"USER"}, {"SASL PLAIN"}, {"USER", "SASL PLAIN SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER"}} {
		for _, m := range (Protocol{}).Offer([][]string{capa}).Mechanisms {
			login := &sniff.Login{Mechanism: m, User: "joe", AuthID: "joe", Password: sniff.Secret("x"), Initial: sniff.Secret("x")}
			b := Protocol{}.Back(sniff.BackOptions{TLS: true, Capabilities: capa, Login: login, Master: master(m)})
			_, out, ev, err := b.Next(nil, []byte("+OK\r\n"))
			if ev.Kind != sniff.Step || err != nil || len(out) == 0 {
				t.Errorf("%s with %q: event %v %v, error %v", m, capa, ev.Kind, ev.Refusal, err)
			}
		}
	}
}

func master(m sniff.Mechanism) *sniff.Master {
	if m != sniff.External {
		return nil
	}
	return &sniff.Master{User: "usher", Password: sniff.Secret("m"), Separator: "*"}
}

// USER and SASL are ours to list, whatever the configuration says back ends have.
func TestCapaOfUnsafeOffer(t *testing.T) {
	f := Protocol{}.Front(sniff.FrontOptions{TLS: true, Offer: sniff.Offer{Capabilities: []string{"TOP\r\n+OK", "", " ", ".", "\xff", "UIDL", "user", "APOP"}}})
	_, out, _, _ := f.Next(nil, []byte("CAPA\r\n"))
	got := strings.Split(strings.TrimSuffix(string(out), "\r\n"), "\r\n")
	if want := []string{"+OK Capability list follows.", "RESP-CODES", "AUTH-RESP-CODE", "UIDL", "."}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
