package imap_test

import (
	"slices"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/imap"
)

// TestOffer: before login clients are shown what we and every known back end can do.
func TestOffer(t *testing.T) {
	const passwords = "PLAIN LOGIN"
	for _, tt := range []struct {
		name         string
		backends     []string // capabilities of each; "?" is not known yet
		mechanisms   string
		capabilities string
	}{
		{"nothing known", nil, passwords + " EXTERNAL command", "IMAP4rev1 SASL-IR"},
		{"none known yet", []string{"?", "?"}, passwords + " EXTERNAL command", "IMAP4rev1 SASL-IR"},
		{
			"unknown ones do not count",
			[]string{"?", "IMAP4rev1 IMAP4rev2 SASL-IR ID IDLE ENABLE LITERAL+ AUTH=PLAIN"},
			passwords + " EXTERNAL command", "IMAP4rev1 SASL-IR IMAP4rev2 LITERAL+ ID ENABLE IDLE",
		},
		{
			"intersection",
			[]string{"IMAP4rev1 IMAP4rev2 ID IDLE auth=xoauth2", "IMAP4rev1 idle MOVE AUTH=XOAUTH2 AUTH=OAUTHBEARER"},
			passwords + " XOAUTH2 EXTERNAL command", "IMAP4rev1 SASL-IR IDLE",
		},
		{
			"LITERAL- is a part of LITERAL+",
			[]string{"IMAP4rev1 LITERAL+", "IMAP4rev1 LITERAL-"},
			passwords + " EXTERNAL command", "IMAP4rev1 SASL-IR LITERAL-",
		},
		{"LITERAL- not everywhere", []string{"IMAP4rev1 LITERAL-", "IMAP4rev1"}, passwords + " EXTERNAL command", "IMAP4rev1 SASL-IR"},
		{
			"PLAIN is enough",
			[]string{"IMAP4rev1 LOGINDISABLED AUTH=PLAIN"},
			passwords + " EXTERNAL command", "IMAP4rev1 SASL-IR",
		},
		{
			"a back end without passwords",
			[]string{"IMAP4rev1", "IMAP4rev1 LOGINDISABLED AUTH=OAUTHBEARER"},
			"EXTERNAL", "IMAP4rev1 SASL-IR",
		},
		{
			"SCRAM",
			[]string{"IMAP4rev1 AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256", "IMAP4rev1 AUTH=SCRAM-SHA-256"},
			passwords + " SCRAM-SHA-256 EXTERNAL command", "IMAP4rev1 SASL-IR",
		},
		{
			"SCRAM with -PLUS somewhere is hidden",
			[]string{"IMAP4rev1 AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256", "IMAP4rev1 AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS"},
			passwords + " SCRAM-SHA-1 EXTERNAL command", "IMAP4rev1 SASL-IR",
		},
		{
			"what is not passed on, and a bare LOGIN",
			[]string{"IMAP4rev1 STARTTLS COMPRESS=DEFLATE LOGIN-REFERRALS UNAUTHENTICATE LOGIN XYZZY AUTH=GSSAPI AUTH=CRAM-MD5"},
			passwords + " EXTERNAL command", "IMAP4rev1 SASL-IR",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var backends [][]string
			for _, caps := range tt.backends {
				if caps == "?" {
					backends = append(backends, nil)
					continue
				}
				backends = append(backends, strings.Fields(caps))
			}
			o := imap.Protocol{}.Offer(backends)
			var got []string
			for _, m := range o.Mechanisms {
				got = append(got, string(m))
			}
			if want := strings.Fields(tt.mechanisms); !slices.Equal(got, want) {
				t.Errorf("mechanisms %q, want %q", got, want)
			}
			if want := strings.Fields(tt.capabilities); !slices.Equal(o.Capabilities, want) {
				t.Errorf("capabilities %q, want %q", o.Capabilities, want)
			}
		})
	}
}

// TestOfferAgreesWithBehaviour holds Debian's bug 500554 against perdition: what
// is listed works, what is not is refused, in every mode.
func TestOfferAgreesWithBehaviour(t *testing.T) {
	for mode := range 1 << 4 {
		o := frontOptions()
		o.TLS, o.StartTLS, o.Plaintext = mode&1 != 0, mode&2 != 0, mode&4 != 0
		if mode&8 != 0 {
			o.Peer = "joe"
		}
		greeting := string(imap.Protocol{}.Front(o).Start(nil))
		list, _, _ := strings.Cut(greeting, "]")
		listed := func(name string) bool { return slices.Contains(strings.Fields(list), name) }

		_, ev, _, _ := talk(t, imap.Protocol{}.Front(o), "a STARTTLS\r\n")
		if got := ev.Kind == sniff.StartTLS; got != listed("STARTTLS") {
			t.Errorf("mode %b: STARTTLS works: %v; %q", mode, got, list)
		}
		_, ev, _, _ = talk(t, imap.Protocol{}.Front(o), "a LOGIN joe x\r\n")
		if got := ev.Kind == sniff.LoggingIn; got == listed("LOGINDISABLED") {
			t.Errorf("mode %b: LOGIN works: %v; %q", mode, got, list)
		}
		for _, m := range mechanisms {
			said, _, _, _ := talk(t, imap.Protocol{}.Front(o), "a AUTHENTICATE "+string(m)+"\r\n")
			if got := strings.HasPrefix(said, "+ "); got != listed("AUTH="+string(m)) {
				t.Errorf("mode %b: %s works: %v; %q", mode, m, got, list)
			}
		}
		if listed("LOGIN") {
			t.Errorf("mode %b: a bare LOGIN in %q", mode, list)
		}
	}
}
