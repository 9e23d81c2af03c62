package forward_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// sides runs f for every side of every layout that is under TLS.
func sides(t *testing.T, f func(t *testing.T, l layout, side int)) {
	for _, l := range layouts {
		if l.client {
			t.Run(l.name+"/by client", func(t *testing.T) { f(t, l, 0) })
		}
		if l.server {
			t.Run(l.name+"/by back end", func(t *testing.T) { f(t, l, 1) })
		}
	}
}

// A peer that updates its keys is followed, and answered if it asks, ahead of
// the next data (RFC 8446 §4.6.3). Where the kernel cannot do that the session
// ends: as a fault, with nothing behind the update getting through.
func TestPathKeyUpdate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		updates []bool // asking or not
		answers uint32 // the least
	}{
		{"not asking", []bool{false}, 0},
		{"asking", []bool{true}, 1},
		{"several in a row", []bool{false, true, true, false, true}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, p *path) {
				rekeys := p.rekeys(t)
				sides(t, func(t *testing.T, l layout, side int) {
					s := newStage(t, p, scene{}).open(t, setup{layout: l, records: true})
					peer, other := s.ends(side)
					peer.say(t, "before", other)
					other.say(t, "answer", peer)
					w := peer.wire()
					var records []byte
					for _, ask := range tt.updates {
						records = append(records, w.update(ask)...)
					}
					if !rekeys {
						w.send(append(records, w.sealAll([]byte("behind"))...))
						if err := w.refused(); err != nil {
							t.Error(err)
						}
						s.lost(side)
						return
					}
					w.send(records)
					for range 3 {
						peer.say(t, "after", other)
						other.say(t, "answer", peer)
					}
					// Requests may be answered together, but never too often.
					asked := uint32(0)
					for _, ask := range tt.updates {
						if ask {
							asked++
						}
					}
					if n := w.r.Updates(); n < tt.answers || n > asked || p.name == "user" && n != tt.answers {
						t.Errorf("answered %d times, want %d or so for %d requests", n, tt.answers, asked)
					}
					s.exchange(pattern(50_000, 1), pattern(50_000, 2))
					s.finish()
					s.rekeyed(w)
				})
			})
		})
	}
}

// rekeyed holds the kernel's account of changed keys to the peer's.
func (s *session) rekeyed(w *wire) {
	s.t.Helper()
	if s.stat == nil || s.res.Path != "ktls" {
		return
	}
	now := statsOfKernel(s.t)
	for name, want := range map[string]uint32{"TlsTxRekeyOk": w.r.Updates(), "TlsRxRekeyOk": w.w.Updates()} {
		if got := now[name] - s.stat[name]; got != int(want) {
			s.t.Errorf("the kernel's %s grew by %d, and the peer saw %d", name, got, want)
		}
	}
}

// Updates amid bulk in both directions.
func TestPathKeyUpdateInBulk(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		if !p.rekeys(t) {
			return // TestPathKeyUpdate shows how it ends
		}
		for _, suite := range record.Suites(record.TLS13) {
			sides(t, func(t *testing.T, l layout, side int) {
				s := newStage(t, p, scene{suite: suite}).open(t, setup{layout: l, records: true})
				peer, other := s.ends(side)
				w := peer.wire()
				up, down := pattern(bulk()/4, 1), pattern(bulk()/4, 2)
				var all []byte
				for i := range 16 {
					n := len(up) / 16
					all = append(append(all, w.sealAll(up[i*n:(i+1)*n])...), w.update(i%2 == 0)...)
				}
				all = append(all, w.sealAll(up[len(up)/16*16:])...)
				errs := make(chan error, 4)
				go func() { _, err := w.Raw.Write(all); errs <- err }()
				go func() { _, err := other.Write(down); errs <- err }()
				whole := func(from io.Reader, want []byte) {
					got := make([]byte, len(want))
					_, err := io.ReadFull(from, got)
					if err == nil && !bytes.Equal(got, want) {
						err = errors.New("other octets came than were sent")
					}
					errs <- err
				}
				go whole(other, up)
				go whole(peer, down)
				for range 4 {
					if err := <-errs; err != nil {
						t.Fatal(err)
					}
				}
				peer.say(t, "after", other)
				other.say(t, "answer", peer)
				if n := w.r.Updates(); n < 1 || n > 8 {
					t.Errorf("answered %d times, of 8 requests", n)
				}
				s.finish()
				s.rekeyed(w)
			})
		}
	})
}

// Updates without data between them are work for nothing, and too many end the
// session.
func TestPathKeyUpdateFlood(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		sides(t, func(t *testing.T, l layout, side int) {
			s := newStage(t, p, scene{}).open(t, setup{layout: l, records: true})
			peer, other := s.ends(side)
			peer.say(t, "before", other)
			other.say(t, "answer", peer)
			w := peer.wire()
			var flood []byte
			for range 500 {
				flood = append(flood, w.update(false)...)
			}
			w.send(append(flood, w.sealAll([]byte("behind"))...))
			if err := w.refused(); err != nil {
				t.Error(err)
			}
			s.lost(side)
		})
	})
}

// ticket is a NewSessionTicket that lives for some seconds (RFC 8446 §4.6.1).
func ticket() []byte {
	return []byte{4, 0, 0, 16, 0, 0, 0, 100, 1, 2, 3, 4, 1, 0, 0, 2, 't', 't', 0, 0}
}

// Tickets of a back end mean nothing here, whenever and however cut they come:
// also as what waits in the socket when the session is handed over.
func TestPathTickets(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		for _, l := range layouts[1:] {
			t.Run(l.name, func(t *testing.T) {
				first := func(side int, _ *handshake.Conn, p *peer) {
					if side == 1 {
						p.wire().send(p.wire().seal(record.TypeHandshake, ticket()))
					}
				}
				s := newStage(t, p, scene{}).open(t, setup{layout: l, records: true, before: first})
				s.client.say(t, "a NOOP", s.server) // the client comes before any data of the back end
				s.server.say(t, "a OK", s.client)
				w, two := s.server.wire(), append(ticket(), ticket()...)
				w.send(w.seal(record.TypeHandshake, ticket()))
				s.server.say(t, "later", s.client)
				w.send(append(w.seal(record.TypeHandshake, two), w.sealAll([]byte("* 1 EXISTS"))...))
				for _, part := range [][]byte{two[:1], two[1:7], two[7:30], two[30:]} {
					w.send(w.seal(record.TypeHandshake, part))
				}
				w.send(w.sealAll([]byte("* 2 EXISTS")))
				got := make([]byte, len("* 1 EXISTS* 2 EXISTS"))
				if _, err := io.ReadFull(s.client, got); err != nil || string(got) != "* 1 EXISTS* 2 EXISTS" {
					t.Fatalf("got %q, %v", got, err)
				}
				s.exchange(pattern(50_000, 1), pattern(50_000, 2))
				s.finish()
			})
		}
	})
}
