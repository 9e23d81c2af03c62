package forward

import (
	"io"
	"testing"
	"time"
)

// A back end that answers LOGOUT and closes with input unread is reset behind
// its last words; its client gets them all the same.
func TestLastWordsBeforeAReset(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			e := l.engine(t)
			for range 30 {
				s := start(t, e, l.client, l.server, "", "")
				_, _ = io.WriteString(s.client, "a LOGOUT\r\nb NOOP\r\n")
				if _, err := io.ReadFull(s.server, make([]byte, 10)); err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(s.server, "* BYE\r\n")
				_ = s.server.Close()
				if b, _ := io.ReadAll(s.client); string(b) != "* BYE\r\n" {
					t.Fatalf("the client got %q", b)
				}
				_ = s.client.Close()
				s.result(t)
			}
		})
	}
}

// A client that writes every octet by itself makes more pieces than writev(2)
// takes.
func TestTinyRecords(t *testing.T) {
	const n = 20_000
	r, _ := runReactor(t)
	s := start(t, r, true, false, "", "")
	c := takeOver(t, s)
	var all []byte
	a, err := c.w.AEAD()
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if all, err = c.w.Append(all, a, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = s.raw.Write(all) }()
	if k, err := io.ReadFull(s.server, make([]byte, n)); err != nil {
		t.Errorf("got %d of %d octets, %v", k, n, err)
	}
}

// A KeyUpdate that is owed at the adoption goes ahead of what was pending.
func TestKeyUpdateOwedAtAdoption(t *testing.T) {
	r, _ := runReactor(t)
	s := &rig{done: make(chan Result, 1), t: t}
	var p Pair
	s.client, p.Client, s.keys = side(t, certificate(t), true)
	s.server, p.Server, _ = side(t, nil, true)
	p.Client.Secured.Writer.Owe()
	p.ToClient = []byte("a OK in\r\n")
	p.Done = func(res Result) { s.done <- res }
	s.flow = r.Adopt(p)
	_ = s.client.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, len("a OK in\r\n"))
	if _, err := io.ReadFull(s.client, b); err != nil || string(b) != "a OK in\r\n" {
		t.Errorf("got %q, %v", b, err)
	}
}
