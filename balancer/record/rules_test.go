package record_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"usher.example/balancer/record"
)

// A rule is one that the peer obeys or breaks. Data that should come through is
// "ok", as often as it stands in the script.
type rule struct {
	name  string
	play  func(s *script)
	data  string        // what gets through
	seen  []record.Kind // and what else is told
	fails bool          // if so, by
	alert record.Alert
	class record.Class
}

// check plays the rule to a Reader in role, whole and byte by byte.
func (rl rule) check(t *testing.T, c combo, role record.Role) {
	t.Helper()
	for _, step := range []int{1 << 20, 1} {
		k := fresh(t, c)
		s := newScript(t, k)
		rl.play(s)
		f := feed{r: record.NewReader(k, role)}
		var err error
		for p := range slices.Chunk(s.stream, step) {
			if err = f.push(t, p); err != nil {
				break
			}
		}
		if string(f.got) != rl.data {
			t.Errorf("got %q, want %q", f.got, rl.data)
		}
		var kinds []record.Kind
		for _, ev := range f.seen {
			kinds = append(kinds, ev.Kind)
		}
		if !slices.Equal(kinds, rl.seen) {
			t.Errorf("saw %v, want %v", kinds, rl.seen)
		}
		if !rl.fails {
			if err != nil {
				t.Errorf("got %v, want no error", err)
			}
			continue
		}
		e := refusal(t, err)
		if e.Alert != rl.alert || e.Class != rl.class {
			t.Errorf("got %v, want %v: %v", e, rl.class, rl.alert)
		}
		// Dead for ever, whatever comes, and the keys are gone.
		a := s.a
		good := newScript(t, k).data("ok").stream
		_, _, err = f.r.Next(a, good)
		if again := refusal(t, err); *again != *e {
			t.Errorf("after %v: %v", e, again)
		}
		if _, _, err = f.r.Parse(good); *refusal(t, err) != *e {
			t.Errorf("after %v Parse says %v", e, err)
		}
		if _, err = f.r.Handle(record.TypeData, []byte("x")); *refusal(t, err) != *e {
			t.Errorf("after %v Handle says %v", e, err)
		}
		if _, err := f.r.AEAD(); err == nil || f.r.Suite() != 0 {
			t.Error("keys outlive the failure")
		}
	}
}

// check runs rules for every suite of a version (the first, if short).
func check(t *testing.T, version uint16, role record.Role, rules []rule) {
	for _, suite := range record.Suites(version) {
		for _, rl := range rules {
			c := combo{version, suite}
			t.Run(c.String()+"/"+strings.ReplaceAll(rl.name, " ", "-"), func(t *testing.T) { rl.check(t, c, role) })
		}
	}
}

var (
	closed  = []record.Kind{record.Closed}
	updated = []record.Kind{record.Updated}
)

// both are rules of both versions.
func both() []rule {
	return []rule{
		{name: "data", play: func(s *script) { s.data("ok").data("ok") }, data: "okok"},
		{name: "close_notify", play: func(s *script) { s.data("ok").alert(1, 0) }, data: "ok", seen: closed},
		{name: "close_notify called fatal", play: func(s *script) { s.alert(2, 0) }, seen: closed},
		{
			name: "anything behind close_notify",
			play: func(s *script) { s.alert(1, 0).raw(bytes.Repeat([]byte{0xff}, 99)...) }, seen: closed,
		},
		{name: "cut short", play: func(s *script) { s.data("ok").header(record.TypeData, 100).raw(1, 2, 3) }, data: "ok"},
		{
			name: "fatal alert", play: func(s *script) { s.data("ok").alert(2, 40) }, data: "ok",
			fails: true, alert: 40, class: record.Peer,
		},
		{name: "alert of nothing", play: func(s *script) { s.alert() }, fails: true, alert: record.UnexpectedMessage, class: record.Malformed},
		{name: "alert of one byte", play: func(s *script) { s.alert(1) }, fails: true, alert: record.DecodeError, class: record.Malformed},
		{name: "two alerts in a record", play: func(s *script) { s.alert(1, 0, 1, 0) }, fails: true, alert: record.DecodeError, class: record.Malformed},
		{name: "handshake of nothing", play: func(s *script) { s.handshake() }, fails: true, alert: record.UnexpectedMessage, class: record.Malformed},
		{
			name: "sealed change_cipher_spec", play: func(s *script) { s.forge(record.Forgery{Type: 20, Body: []byte{1}}) },
			fails: true, alert: record.UnexpectedMessage, class: record.Unexpected,
		},
		{
			name: "unknown type", play: func(s *script) { s.forge(record.Forgery{Type: 24, Body: []byte{1}}) },
			fails: true, alert: record.UnexpectedMessage, class: record.Unexpected,
		},
		{
			name: "as many empty records as are borne",
			play: func(s *script) {
				for range 3 {
					s.times(record.MaxEmpty, func() { s.data("") }).data("ok")
				}
			}, data: "okokok",
		},
		{
			name: "one empty record too many", play: func(s *script) { s.data("ok").times(record.MaxEmpty+1, func() { s.data("") }) },
			data: "ok", fails: true, alert: record.UnexpectedMessage, class: record.Flood,
		},
		{
			name: "record number left out", play: func(s *script) { s.data("ok").skip().data("ok") }, data: "ok",
			fails: true, alert: record.BadRecordMAC, class: record.Forged,
		},
		{
			name: "largest length", play: func(s *script) { s.header(record.TypeData, 0xffff) },
			fails: true, alert: record.RecordOverflow, class: record.Malformed,
		},
		{
			name: "length that no plaintext has",
			play: func(s *script) {
				s.header(record.TypeData, s.k.Head()-record.HeaderLen+s.k.Tail()+record.MaxPlaintext+1)
			},
			fails: true, alert: record.RecordOverflow, class: record.Malformed,
		},
		{
			name: "plaintext of 2^14+1", play: func(s *script) { s.data(strings.Repeat("x", record.MaxPlaintext+1)) },
			fails: true, alert: record.RecordOverflow, class: record.Malformed,
		},
		{
			name:  "too short to be authentic",
			play:  func(s *script) { s.header(record.TypeData, s.k.Head()-record.HeaderLen+s.k.Tail()-1) },
			fails: true, alert: record.BadRecordMAC, class: record.Forged,
		},
		{
			name: "no length at all", play: func(s *script) { s.header(record.TypeData, 0) },
			fails: true, alert: record.BadRecordMAC, class: record.Forged,
		},
	}
}

func TestRulesTLS12(t *testing.T) {
	rules := append(both(), []rule{
		{name: "warning", play: func(s *script) { s.alert(1, 100).data("ok") }, data: "ok"},
		{
			name: "too many warnings", play: func(s *script) { s.times(record.MaxEmpty+1, func() { s.alert(1, 90) }) },
			fails: true, alert: record.UnexpectedMessage, class: record.Flood,
		},
		{name: "alert of no level", play: func(s *script) { s.alert(3, 40) }, fails: true, alert: record.IllegalParameter, class: record.Malformed},
		{
			name: "other version", play: func(s *script) { s.forge(record.Forgery{Type: record.TypeData, Version: 0x0302, Body: []byte("x")}) },
			fails: true, alert: record.ProtocolVersion, class: record.Malformed,
		},
		{name: "plaintext", play: func(s *script) { s.raw([]byte("a1 NOOP\r\n")...) }, fails: true, alert: record.ProtocolVersion, class: record.Malformed},
		{name: "KeyUpdate", play: func(s *script) { s.handshake(24, 0, 0, 1, 0) }, fails: true, alert: record.UnexpectedMessage, class: record.Unexpected},
	}...)
	hello := rule{name: "HelloRequest", play: func(s *script) { s.data("ok").handshake(0, 0, 0, 0) }, data: "ok", fails: true, class: record.Unexpected}
	again := rule{name: "ClientHello", play: func(s *script) { s.data("ok").handshake(1, 0) }, data: "ok", fails: true, class: record.Unexpected}
	for _, role := range []record.Role{record.Server, record.Client} {
		hello.alert, again.alert = record.UnexpectedMessage, record.NoRenegotiation
		if role == record.Client {
			hello.alert, again.alert = again.alert, hello.alert
		}
		check(t, record.TLS12, role, append(slices.Clone(rules), hello, again))
	}
}
