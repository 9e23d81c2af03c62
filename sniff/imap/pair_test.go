package imap_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"usher.example/sniff"
	"usher.example/sniff/imap"
)

// TestRoundTrip: whatever name and password a client may have, our back says to
// our front exactly those: what a session is routed by is what the back end sees
// (rows 2019-11500 and 2025-53859).
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Filter(func(s string) bool { return sniff.CheckUser(s) == nil }).Draw(t, "name")
		password := rapid.SliceOf(rapid.ByteRange(1, 255)).Draw(t, "password")
		list := rapid.SampledFrom([]string{
			"", " AUTH=PLAIN", " AUTH=PLAIN SASL-IR", " ID", " ID AUTH=PLAIN SASL-IR",
		}).Draw(t, "capabilities")
		said := &sniff.Login{
			Mechanism: sniff.Command, User: name, AuthID: name, Password: sniff.Secret(password),
			Before: sniff.Before{ID: []sniff.Field{{Key: "name", Value: `a "b" \c`}, {Key: "version", Nil: true}}},
		}
		front := imap.Protocol{}.Front(frontOptions())
		back := imap.Protocol{}.Back(sniff.BackOptions{Login: said})
		heard, ev := introduce(t, front, back, "* OK [CAPABILITY IMAP4rev1"+list+"] hello\r\n")

		if heard.User != name || heard.AuthID != name || !bytes.Equal(heard.Password, password) {
			t.Errorf("said %q %q, heard %q %q", name, password, heard.User, []byte(heard.Password))
		}
		if ev.Kind != sniff.Accepted || ev.Accepted.Text != "welcome" {
			t.Errorf("got %v, want an acceptance", ev.Kind)
		}
		if bytes.Contains([]byte(list), []byte("ID")) {
			if id := heard.Before.ID; len(id) != 2 || id[0] != said.Before.ID[0] || id[1] != said.Before.ID[1] {
				t.Errorf("said %v, heard %v", said.Before.ID, id)
			}
		}
	})
}

// introduce lets a back log in at a front, which accepts it.
func introduce(t *rapid.T, front sniff.Front, back sniff.Back, greeting string) (*sniff.Login, sniff.Event) {
	var heard *sniff.Login
	toBack, toFront := []byte(greeting), []byte(nil)
	for range 100 {
		n, out, ev, err := back.Next(toFront, toBack)
		if err != nil {
			t.Fatalf("back end's side: %v", err)
		}
		if ev.Kind == sniff.Accepted {
			return heard, ev
		}
		backMoved := n > 0 || len(out) > len(toFront)
		toBack, toFront = toBack[n:], out

		n, out, ev, err = front.Next(toBack, toFront)
		if err != nil {
			t.Fatalf("client's side: %v", err)
		}
		frontMoved := n > 0 || len(out) > len(toBack)
		toBack, toFront = out, toFront[n:]
		if ev.Kind == sniff.LoggingIn {
			heard = ev.Login
			toBack = front.Accept(toBack, &sniff.Acceptance{Text: "welcome", Capabilities: []string{"IMAP4rev1"}})
			frontMoved = true
		}
		if !backMoved && !frontMoved {
			t.Fatalf("stuck: to the back %q, to the front %q", toBack, toFront)
		}
	}
	t.Fatal("no end")
	return nil, sniff.Event{}
}
