package record_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"usher.example/balancer/record"
)

// pieces sends a message cut into records of n bytes.
func (s *script) pieces(n int, m []byte) *script {
	for p := range slices.Chunk(m, n) {
		s.handshake(p...)
	}
	return s
}

// tls13 are rules of TLS 1.3 in both roles.
func tls13() []rule {
	unexpected := func(name string, play func(s *script)) rule {
		return rule{name: name, play: play, fails: true, alert: record.UnexpectedMessage, class: record.Unexpected}
	}
	return append(both(), []rule{
		unexpected("change_cipher_spec", func(s *script) { s.raw(20, 3, 3, 0, 1, 1) }),
		unexpected("plaintext alert", func(s *script) { s.raw(21, 3, 3, 0, 2, 2, 40) }),
		unexpected("plaintext", func(s *script) { s.raw([]byte("a1 NOOP\r\n")...) }),
		unexpected("sealed under another outer type", func(s *script) {
			s.forge(record.Forgery{Type: record.TypeData, Outer: record.TypeHandshake, Body: []byte("x")})
		}),
		{
			name: "other version in the header",
			play: func(s *script) { s.forge(record.Forgery{Type: record.TypeData, Version: 0x0301, Body: []byte("ok")}) }, data: "ok",
		},
		{
			name: "padding",
			play: func(s *script) {
				for _, n := range []int{1, 2, 255, 1000, record.MaxPlaintext - 2} {
					s.forge(record.Forgery{Type: record.TypeData, Body: []byte("ok"), Padding: n})
				}
			}, data: "okokokokok",
		},
		{
			name: "data that ends in zeros",
			play: func(s *script) {
				s.forge(record.Forgery{Type: record.TypeData, Body: []byte("ok\x00\x00"), Padding: 3})
			}, data: "ok\x00\x00",
		},
		{
			name: "padding past the limit",
			play: func(s *script) {
				s.forge(record.Forgery{Type: record.TypeData, Body: []byte("ok"), Padding: record.MaxPlaintext - 1})
			},
			fails: true, alert: record.RecordOverflow, class: record.Malformed,
		},
		{
			name: "padding and nothing else", play: func(s *script) { s.forge(record.Forgery{Padding: 100}) },
			fails: true, alert: record.UnexpectedMessage, class: record.Malformed,
		},
		{
			name: "no content type", play: func(s *script) { s.forge(record.Forgery{}) },
			fails: true, alert: record.BadRecordMAC, class: record.Forged,
		},
		{name: "padded empty record", play: func(s *script) { s.forge(record.Forgery{Type: record.TypeData, Padding: 9}).data("ok") }, data: "ok"},

		{name: "user_canceled", play: func(s *script) { s.alert(1, 90).data("ok").alert(1, 0) }, data: "ok", seen: closed},
		{
			name: "too many user_canceled", play: func(s *script) { s.times(record.MaxEmpty+1, func() { s.alert(1, 90) }) },
			fails: true, alert: record.UnexpectedMessage, class: record.Flood,
		},
		{name: "alert called a warning", play: func(s *script) { s.alert(1, 80) }, fails: true, alert: 80, class: record.Peer},

		{name: "KeyUpdate", play: func(s *script) { s.data("ok").update(false).data("ok") }, data: "okok", seen: updated},
		{name: "KeyUpdate in pieces", play: func(s *script) { s.pieces(1, []byte{24, 0, 0, 1, 0}).rekey().data("ok") }, data: "ok", seen: updated},
		{
			name: "KeyUpdate and old keys", play: func(s *script) { s.handshake(24, 0, 0, 1, 0).data("ok") }, seen: updated,
			fails: true, alert: record.BadRecordMAC, class: record.Forged,
		},
		{
			name: "KeyUpdate that asks for neither", play: func(s *script) { s.handshake(24, 0, 0, 1, 2) },
			fails: true, alert: record.IllegalParameter, class: record.Malformed,
		},
		{
			name: "KeyUpdate too long", play: func(s *script) { s.handshake(24, 0, 0, 2, 0, 0) },
			fails: true, alert: record.DecodeError, class: record.Malformed,
		},
		{
			name: "KeyUpdate too short", play: func(s *script) { s.handshake(24, 0, 0, 0) },
			fails: true, alert: record.DecodeError, class: record.Malformed,
		},
		unexpected("two KeyUpdates in a record", func(s *script) { s.handshake(24, 0, 0, 1, 0, 24, 0, 0, 1, 0) }),
		unexpected("KeyUpdate with a byte behind it", func(s *script) { s.handshake(24, 0, 0, 1, 0, 24) }),
		unexpected("data in a message", func(s *script) { s.handshake(24, 0).data("no") }),
		unexpected("empty data in a message", func(s *script) { s.handshake(24).data("") }),
		unexpected("alert in a message", func(s *script) { s.handshake(24, 0, 0, 1).alert(1, 0) }),
		{
			name: "as many KeyUpdates as are borne",
			play: func(s *script) {
				for range 2 {
					s.times(record.MaxMessages, func() { s.update(true) }).data("ok")
				}
			}, data: "okok", seen: slices.Repeat(updated, 2*record.MaxMessages),
		},
		{
			name: "one KeyUpdate too many", play: func(s *script) { s.times(record.MaxMessages+1, func() { s.update(true) }) },
			seen: slices.Repeat(updated, record.MaxMessages), fails: true, alert: record.UnexpectedMessage, class: record.Flood,
		},
		unexpected("ClientHello", func(s *script) { s.handshake(1) }),
		unexpected("ServerHello", func(s *script) { s.handshake(message(2, 40)...) }),
		unexpected("CertificateRequest", func(s *script) { s.handshake(message(13, 40)...) }),
		unexpected("Finished", func(s *script) { s.handshake(message(20, 32)...) }),
		unexpected("HelloRequest", func(s *script) { s.handshake(0, 0, 0, 0) }),
		unexpected("EndOfEarlyData", func(s *script) { s.handshake(5, 0, 0, 0) }),
	}...)
}

func TestRulesTLS13Server(t *testing.T) {
	check(t, record.TLS13, record.Server, append(tls13(), rule{
		name: "ticket from a client", play: func(s *script) { s.handshake(ticket(1)[0]) },
		fails: true, alert: record.UnexpectedMessage, class: record.Unexpected,
	}))
}

func TestRulesTLS13Client(t *testing.T) {
	one := []record.Kind{record.Ticket}
	check(t, record.TLS13, record.Client, append(tls13(), []rule{
		{name: "ticket", play: func(s *script) { s.handshake(ticket(200)...).data("ok") }, data: "ok", seen: one},
		{name: "least ticket", play: func(s *script) { s.handshake(ticket(1)...).data("ok") }, data: "ok", seen: one},
		{name: "ticket in pieces", play: func(s *script) { s.pieces(1, ticket(200)).data("ok") }, data: "ok", seen: one},
		{
			name: "tickets across records", play: func(s *script) { s.pieces(300, bytes.Repeat(ticket(200), 6)).data("ok") },
			data: "ok", seen: slices.Repeat(one, 5), // 218 bytes each, in six records: two end in the fourth
		},
		{name: "largest ticket", play: func(s *script) { s.pieces(record.MaxPlaintext, ticket(record.MaxMessage-13)).data("ok") }, data: "ok", seen: one},
		{
			name: "ticket too large", play: func(s *script) { s.handshake(4, 1, 0, 1) },
			fails: true, alert: record.IllegalParameter, class: record.Malformed,
		},
		{
			name: "ticket without a ticket", play: func(s *script) { s.handshake(message(4, 13)...) },
			fails: true, alert: record.DecodeError, class: record.Malformed,
		},
		{
			name: "ticket and KeyUpdate in a record", play: func(s *script) { s.handshake(append(ticket(9), 24, 0, 0, 1, 1)...).rekey().data("ok") },
			data: "ok", seen: updated,
		},
		{
			name: "too many tickets", play: func(s *script) { s.handshake(bytes.Repeat(ticket(1), record.MaxMessages+1)...) },
			fails: true, alert: record.UnexpectedMessage, class: record.Flood,
		},
		{
			name: "data in a ticket", play: func(s *script) { s.handshake(ticket(99)[:50]...).data("no") },
			fails: true, alert: record.UnexpectedMessage, class: record.Unexpected,
		},
	}...))
}

// TestAnswer asks for KeyUpdates and looks at what comes back, and when.
func TestAnswer(t *testing.T) {
	c := combo{record.TLS13, record.AES128GCM}
	k := fresh(t, c)
	w, r := pair(t, c, record.Client)
	s := newScript(t, k).update(true).update(false).update(true)
	f := feed{r: record.NewReader(k, record.Server)}
	if err := f.push(t, s.stream); err != nil {
		t.Fatal(err)
	}
	var asked strings.Builder
	for _, ev := range f.seen {
		if ev.Answer {
			w.Owe()
			asked.WriteString("y")
		} else {
			asked.WriteString("n")
		}
	}
	if asked.String() != "yny" {
		t.Fatalf("asked %s, want yny", asked.String())
	}
	a := aead(t, &w.Keys)
	if !w.Due(0, 0) {
		t.Error("owed, and not due")
	}
	if out, err := w.Append(nil, a, []byte("x")); err == nil || len(out) > 0 {
		t.Error("data sealed before the answer")
	}
	if _, err := w.SealSlot(make([]byte, 99), a, 1); err == nil {
		t.Error("data sealed in a slot before the answer")
	}
	out, err := w.AppendKeyUpdate(nil, a, false)
	if err != nil {
		t.Fatal(err)
	}
	if w.Due(1, 0) || w.Updates() != 1 {
		t.Errorf("two were asked for: %d answered, another due %v", w.Updates(), w.Due(1, 0))
	}
	if out, err = w.Append(out, aead(t, &w.Keys), []byte("data")); err != nil {
		t.Fatal(err)
	}
	back := feed{r: r}
	if err := back.push(t, out); err != nil || string(back.got) != "data" || len(back.seen) != 1 || back.seen[0].Answer {
		t.Errorf("the peer got %q, %v, %v", back.got, back.seen, err)
	}
	if strings.Contains(string(out), "data") {
		t.Error("plaintext on the wire")
	}
}
