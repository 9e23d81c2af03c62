package sniff

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestExchange(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mech  Mechanism
		peer  string
		msgs  []string
		user  string
		auth  string
		fails error
	}{
		{"plain", Plain, "", []string{"\x00joe\x00secret"}, "joe", "joe", nil},
		{"plain with authorization identity", Plain, "", []string{"joe\x00admin\x00secret"}, "joe", "admin", nil},
		{"plain without password", Plain, "", []string{"\x00joe\x00"}, "joe", "joe", nil},
		{"plain with one part too few", Plain, "", []string{"joe\x00secret"}, "", "", ErrSASL},
		{"plain with one part too many", Plain, "", []string{"\x00joe\x00se\x00cret"}, "", "", ErrSASL},
		{"plain without a name", Plain, "", []string{"\x00\x00secret"}, "", "", ErrUser},
		{"login", LoginSASL, "", []string{"joe", "secret"}, "joe", "joe", nil},
		{"login with NUL in the name", LoginSASL, "", []string{"joe\x00x", "secret"}, "", "", ErrUser},
		{"login with NUL in the password", LoginSASL, "", []string{"joe", "sec\x00ret"}, "", "", ErrSASL},
		{"xoauth2", XOAuth2, "", []string{"user=joe@example.org\x01auth=Bearer tok\x01\x01"}, "joe@example.org", "joe@example.org", nil},
		{"xoauth2 with two users", XOAuth2, "", []string{"user=joe\x01user=jim\x01auth=Bearer tok\x01\x01"}, "", "", ErrSASL},
		{"xoauth2 without token", XOAuth2, "", []string{"user=joe\x01\x01"}, "", "", ErrSASL},
		{"xoauth2 without end", XOAuth2, "", []string{"user=joe\x01auth=Bearer tok\x01"}, "", "", ErrSASL},
		{"oauthbearer", OAuthBearer, "", []string{"n,a=joe@example.org,\x01host=mail.example.org\x01port=993\x01auth=Bearer tok\x01\x01"}, "joe@example.org", "joe@example.org", nil},
		{"oauthbearer without name", OAuthBearer, "", []string{"n,,\x01auth=Bearer tok\x01\x01"}, "", "", ErrSASL},
		{"oauthbearer with channel binding", OAuthBearer, "", []string{"p=tls-unique,a=joe,\x01auth=Bearer tok\x01\x01"}, "", "", ErrSASL},
		{"scram", ScramSHA256, "", []string{"n,,n=joe,r=abc"}, "joe", "joe", nil},
		{"scram with escapes", ScramSHA1, "", []string{"n,,n=j=2Co=3De,r=abc"}, "j,o=e", "j,o=e", nil},
		{"scram with a bad escape", ScramSHA1, "", []string{"n,,n=j=2co,r=abc"}, "", "", ErrSASL},
		{"scram with authorization identity", ScramSHA1, "", []string{"y,a=jim,n=joe,r=abc"}, "jim", "joe", nil},
		{"scram with channel binding", ScramSHA1, "", []string{"p=tls-unique,,n=joe,r=abc"}, "", "", ErrSASL},
		{"scram without nonce", ScramSHA1, "", []string{"n,,n=joe,r="}, "", "", ErrSASL},
		{"scram with an extension it must not ignore", ScramSHA1, "", []string{"n,,m=x,n=joe,r=abc"}, "", "", ErrSASL},
		{"external", External, "joe@example.org", []string{""}, "joe@example.org", "joe@example.org", nil},
		{"external with its own name", External, "joe", []string{"joe"}, "joe", "joe", nil},
		{"external with another name", External, "joe", []string{"jim"}, "", "", ErrUser},
		// Dovecot CVE-2019-3814: a certificate without a name is no login.
		{"external without certificate", External, "", []string{"joe"}, "", "", ErrMechanism},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := NewExchange(tt.mech, tt.peer)
			if err != nil {
				t.Fatal(err)
			}
			var login *Login
			for _, m := range tt.msgs {
				login, _, err = x.Respond([]byte(m))
			}
			if !errors.Is(err, tt.fails) {
				t.Fatalf("error %v, want %v", err, tt.fails)
			}
			if tt.fails == nil && (login.User != tt.user || login.AuthID != tt.auth) {
				t.Errorf("user %q, auth %q; want %q, %q", login.User, login.AuthID, tt.user, tt.auth)
			}
		})
	}
}

// Dovecot CVE-2019-10691, CVE-2019-11500: names no back end should see.
func TestCheckUser(t *testing.T) {
	for name, good := range map[string]bool{
		"joe": true, "joe@example.org": true, "jörg@exämple.org": true, "用户": true, "%u%n%s": true, "joe smith": true,
		strings.Repeat("a", MaxUser): true, strings.Repeat("a", MaxUser+1): false, strings.Repeat("a", 2000): false,
		"": false, "joe\x00": false, "joe\r\nA LOGIN": false, "joe\tx": false, "joe\x7f": false, "joe\u0085": false,
		"joe\xff": false, "joe\xc0\xaf": false, "joe\xed\xa0\x80": false, "joe\u202eeoj": false, "joe\u200b": false, "\ufffd": false,
	} {
		if err := CheckUser(name); (err == nil) != good {
			t.Errorf("CheckUser(%q) = %v, want good: %v", name, err, good)
		}
	}
}

func TestSecretCannotBePrinted(t *testing.T) {
	l := &Login{User: "joe", Password: Secret("hunter2"), Initial: Secret("hunter2")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "login", l, "secret", l.Password)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "login", l, "secret", l.Password)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb, l)
		fmt.Fprintf(&log, verb, l.Password)
	}
	for _, leak := range []string{"hunter2", "68756e74657232", "aHVudGVyMg", "104 117"} {
		if strings.Contains(log.String(), leak) {
			t.Errorf("the secret shows as %s in %s", leak, log.String())
		}
	}
	l.Wipe()
	if !bytes.Equal(l.Password, make([]byte, 7)) {
		t.Errorf("not wiped: %x", []byte(l.Password))
	}
}

// Dovecot CVE-2026-33603, nginx CVE-2025-53859: one message, one spelling,
// exact lengths.
func TestDecodeBase64(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "am9l": "joe", "am9lIQ==": "joe!", "AGEAYg==": "\x00a\x00b",
	} {
		got, err := DecodeBase64([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("DecodeBase64(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"am9", "am9lIQ", "am9lIQ=", "am9lIR==", "am9l ", " am9l", "am\t9l", "am9l\r\n", "am\n9l", "am9l=", "=", "==", "-_==", "ам"} {
		if got, err := DecodeBase64([]byte(in)); err == nil {
			t.Errorf("DecodeBase64(%q) = %q, want an error", in, got)
		}
	}
	if _, err := DecodeBase64(bytes.Repeat([]byte("AAAA"), MaxSASL/3+8)); !errors.Is(err, ErrSASL) {
		t.Errorf("an endless message gives %v", err)
	}
}

// FuzzExchange holds that no message makes a login that could not be told to a
// back end, and that base64 decodes to what encodes to the same again.
func FuzzExchange(f *testing.F) {
	for _, s := range []string{"\x00joe\x00secret", "n,a=joe,\x01auth=Bearer x\x01\x01", "n,,n=joe,r=abc", "user=joe\x01auth=Bearer x\x01\x01", "joe"} {
		f.Add([]byte(s), uint8(0))
	}
	mechs := []Mechanism{Plain, LoginSASL, XOAuth2, OAuthBearer, ScramSHA1, ScramSHA256, External}
	f.Fuzz(func(t *testing.T, msg []byte, which uint8) {
		x, err := NewExchange(mechs[int(which)%len(mechs)], "peer@example.org")
		if err != nil {
			t.Fatal(err)
		}
		if login, _, err := x.Respond(msg); err == nil && login != nil {
			if err := CheckUser(login.User); err != nil {
				t.Errorf("%q gave the user %q: %v", msg, login.User, err)
			}
			if login.Mechanism.Relayed() && !bytes.Equal(login.Initial, msg) {
				t.Errorf("%q is relayed as %q", msg, []byte(login.Initial))
			}
		}
		if plain, err := DecodeBase64(msg); err == nil && !bytes.Equal(AppendBase64(nil, plain), msg) {
			t.Errorf("%q decodes to what encodes to %q", msg, AppendBase64(nil, plain))
		}
	})
}
