package record_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"usher.example/balancer/record"
)

// A verdict is what one side makes of a stream so far.
type verdict struct {
	data []byte
	// state is open, closed (close_notify), refused (with an alert of its own)
	// or told (by a fatal alert of the peer's).
	state string
	alert record.Alert
}

func (v verdict) String() string {
	if v.state == "open" || v.state == "closed" {
		return fmt.Sprintf("%s after %d bytes", v.state, len(v.data))
	}
	return fmt.Sprintf("%s %v after %d bytes", v.state, v.alert, len(v.data))
}

// theirs asks crypto/tls, whose answers come sealed with k.
type theirs struct {
	verdict
	conn *tls.Conn
	in   *line
	k    record.Keys
}

func (p *theirs) next(tb testing.TB) {
	tb.Helper()
	var err error
	for buf := make([]byte, 1<<15); err == nil; {
		var n int
		n, err = p.conn.Read(buf)
		p.data = append(p.data, buf[:n]...)
	}
	alert, sent := p.answer(tb)
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if sent {
			tb.Fatalf("crypto/tls sent %v and goes on", alert)
		}
	case errors.Is(err, io.EOF):
		p.state = "closed"
	case errors.As(err, &op) && op.Op == "remote error":
		p.state = "told"
		for a := range 256 {
			if op.Err.Error() == tls.AlertError(a).Error() {
				p.alert = record.Alert(a)
			}
		}
	default:
		if !sent {
			tb.Fatalf("crypto/tls sent no alert for %v", err)
		}
		p.state, p.alert = "refused", alert
	}
}

// answer opens what crypto/tls sends and returns the alert in it.
func (p *theirs) answer(tb testing.TB) (alert record.Alert, sent bool) {
	tb.Helper()
	for b := p.in.drain(); len(b) > 0; {
		n := record.HeaderLen + int(b[3])<<8 + int(b[4])
		typ, msg, err := record.Open(&p.k, aead(tb, &p.k), b[:n])
		switch {
		case err != nil:
			tb.Fatalf("open crypto/tls's answer: %v", err)
		case typ == record.TypeAlert:
			alert, sent = record.Alert(msg[1]), true
		case typ == record.TypeHandshake: // a KeyUpdate
			if err := p.k.Update(); err != nil {
				tb.Fatal(err)
			}
		}
		b = b[n:]
	}
	return alert, sent
}

// ours asks a Reader.
type ours struct {
	verdict
	feed
}

func (p *ours) next(tb testing.TB, b []byte) {
	tb.Helper()
	if p.state != "open" {
		return
	}
	err := p.push(tb, b)
	p.data = p.got
	switch {
	case err != nil:
		e := refusal(tb, err)
		p.state, p.alert = "refused", e.Alert
		if e.Class == record.Peer {
			p.state = "told"
		}
	case len(p.seen) > 0 && p.seen[len(p.seen)-1].Kind == record.Closed:
		p.state = "closed"
	}
}

// differences are pairs of alerts, ours and crypto/tls's, for the same offence.
var differences = map[[2]record.Alert]string{
	{record.UnexpectedMessage, record.BadRecordMAC}:     "the outer type is looked at first (RFC 8446 §5)",
	{record.RecordOverflow, record.BadRecordMAC}:        "a length that cannot be is refused by the header",
	{record.DecodeError, record.UnexpectedMessage}:      "a message that cannot be parsed (RFC 8446 §6.2)",
	{record.IllegalParameter, record.UnexpectedMessage}: "an alert's level, a KeyUpdate's value (RFC 8446 §4.6.3)",
	{record.IllegalParameter, record.DecodeError}:       "a KeyUpdate's value (RFC 8446 §4.6.3)",
	{record.NoRenegotiation, record.UnexpectedMessage}:  "a ClientHello (RFC 5246 §7.2.2)",
	{record.NoRenegotiation, record.DecodeError}:        "likewise, if it cannot be parsed",
	{record.UnexpectedMessage, record.DecodeError}:      "the message's type is looked at first",
	{record.BadRecordMAC, record.ProtocolVersion}:       "TLS 1.3 ignores the header's version (RFC 8446 §5.1)",
	{record.UnexpectedMessage, record.ProtocolVersion}:  "likewise",
	{record.RecordOverflow, record.ProtocolVersion}:     "likewise",
}

// agree compares the two after a step, and says whether to go on.
func agree(t *testing.T, o verdict, th verdict, st step) bool {
	t.Helper()
	fail := func(why string) {
		t.Helper()
		t.Fatalf("%s: we are %v, crypto/tls is %v, after %s", why, o, th, st.what)
	}
	if !bytes.HasPrefix(o.data, th.data) && !bytes.HasPrefix(th.data, o.data) {
		fail("data")
	}
	if o.state != th.state || o.alert != th.alert {
		switch {
		case st.may != "":
			return false // each as it likes; what we do is pinned by the rules
		case o.state != th.state:
			fail("states")
		case o.state == "told":
			fail("alerts told")
		case differences[[2]record.Alert{o.alert, th.alert}] == "":
			fail("alerts")
		}
	}
	if len(o.data) != len(th.data) {
		fail("sizes of data")
	}
	return o.state == "open"
}

// FuzzDifferential has an adversarial peer, in either role, talk to us and to
// crypto/tls under the same keys, step by step. Both must get the same data and
// come to the same end; the few differences are listed above and in play.
func FuzzDifferential(f *testing.F) {
	for i := range byte(12) {
		f.Add(i, []byte("\x00\x05hello\x05\x01\x00\x03abc"))
		for op := range byte(ops) {
			f.Add(i, []byte{opData, 3, op, 1, 7, opData, 2, op, 0, 0, opAlert, 1, 0})
			f.Add(i, []byte{op, 200, 1, op, 13, 255, op | flip, 4, 9})
		}
	}
	f.Fuzz(func(t *testing.T, which byte, in []byte) { differ(t, which, in) })
}

func differ(t *testing.T, which byte, in []byte) {
	c := fuzzed()[int(which>>1)%len(fuzzed())]
	role := record.Role(which & 1) // ours, and crypto/tls's
	s := establish(t, c, false)
	adversary, answers, out, back, conn := s.as(1 - role)
	th := &theirs{conn: conn, in: back, k: answers}
	us := &ours{feed: feed{r: record.NewReader(adversary, role)}}
	us.state, th.state = "open", "open"
	p := &player{script: newScript(t, adversary), in: in, role: role, version: c.version}
	for range 64 {
		st, ok := p.play()
		if !ok {
			return
		}
		_, _ = out.Write(st.bytes)
		us.next(t, st.bytes)
		th.next(t)
		if !agree(t, us.verdict, th.verdict, st) {
			return
		}
	}
}
