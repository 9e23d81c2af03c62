package forward_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// still is how long a socket must have taken nothing to count as full.
const still = 200 * time.Millisecond

// stall writes until nothing is taken any more, and returns what is left.
func (p *peer) stall(data []byte) ([]byte, error) {
	for {
		_ = p.raw.SetWriteDeadline(time.Now().Add(still))
		n, err := p.raw.Write(data)
		data = data[n:]
		switch {
		case err == nil:
			return nil, errors.New("all was taken at once: nothing was ever full")
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case n == 0:
			return data, p.raw.SetWriteDeadline(time.Now().Add(patience))
		}
	}
}

// Receivers that stop until every socket and buffer on the way is full, and then
// read all, lose nothing: readiness is told once only (EPOLLET).
func TestPathStall(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		for _, version := range versions {
			for _, l := range layouts {
				for _, ways := range [][]int{{0}, {1}, {0, 1}} { // who sends
					if version == record.TLS12 && len(ways) == 1 {
						continue // it has no control records that could make a difference
					}
					t.Run(fmt.Sprint(tls.VersionName(version), "/", l.name, "/", ways), func(t *testing.T) {
						newStage(t, p, scene{version: version}).open(t, setup{layout: l, records: true, small: true}).stall(ways)
					})
				}
			}
		}
	})
}

// stall has the peers in from send until nothing goes any more, before any of it
// is read.
func (s *session) stall(from []int) {
	s.t.Helper()
	var left [2][]byte
	data := [2][]byte{pattern(2<<20, 1), pattern(2<<20, 2)}
	var wg sync.WaitGroup
	for _, side := range from {
		peer, _ := s.ends(side)
		sent := data[side]
		if w, ok := peer.Conn.(*wire); ok {
			sent = w.sealAll(sent)
		}
		wg.Go(func() {
			var err error
			if left[side], err = peer.stall(sent); err != nil {
				s.t.Errorf("%d: %v", side, err)
			}
		})
	}
	wg.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
	for _, side := range from {
		peer, other := s.ends(side)
		wg.Go(func() {
			if _, err := peer.raw.Write(left[side]); err != nil {
				s.t.Errorf("%d: %v", side, err)
			}
		})
		wg.Go(func() {
			got := make([]byte, len(data[side]))
			n, err := io.ReadFull(other, got)
			if err != nil || !bytes.Equal(got, data[side]) {
				s.t.Errorf("%d: %d of %d octets came, %v", side, n, len(got), err)
			}
		})
	}
	wg.Wait()
	s.exchange([]byte("still"), []byte("there"))
	s.finish()
}

// before says what a side has done up to the hand-over.
type before = func(t *testing.T, ours *handshake.Conn, w *wire)

// Whatever was read before the hand-over, or waits in the socket, comes first.
// Kernel TLS cannot begin amid a record: such a session may go another way.
func TestPathPending(t *testing.T) {
	read := func(t *testing.T, c *handshake.Conn, n int) string {
		t.Helper()
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("before the hand-over: %v", err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name string
		do   before
		want string // what still comes
		also string
	}{
		{"a part of a record's data was read", func(t *testing.T, c *handshake.Conn, w *wire) {
			w.send(w.sealAll([]byte("first;second;")))
			read(t, c, len("first;"))
		}, "second;", ""},
		{"whole records wait in the socket", func(t *testing.T, c *handshake.Conn, w *wire) {
			w.send(append(w.sealAll([]byte("first;")), append(w.sealAll([]byte("second;")), w.sealAll([]byte("third;"))...)...))
			read(t, c, len("first;"))
		}, "second;third;", ""},
		{"a part of a record waits in the socket", func(t *testing.T, _ *handshake.Conn, w *wire) {
			w.later = w.cut(w.sealAll([]byte("first;second;")), 9)
		}, "first;second;", ""},
		{"a part of a record was read", func(t *testing.T, c *handshake.Conn, w *wire) {
			w.later = w.cut(w.sealAll([]byte("first;second;")), 9)
			partly(t, c)
		}, "first;second;", "user"},
		{"a part of a header was read", func(t *testing.T, c *handshake.Conn, w *wire) {
			w.later = w.cut(w.sealAll([]byte("first;second;")), 3)
			partly(t, c)
		}, "first;second;", "user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, p *path) {
				for _, version := range versions {
					sides(t, func(t *testing.T, l layout, side int) {
						s := newStage(t, p, scene{version: version}).open(t, setup{
							layout: l, records: true, also: also(p, tt.also), toClient: "C;", toServer: "S;",
							before: func(n int, c *handshake.Conn, p *peer) {
								if n == side {
									tt.do(t, c, p.wire())
								}
							},
						})
						from, to := s.ends(side)
						from.wire().send(from.wire().later)
						ahead := []string{"S;", "C;"}
						to.hear(t, ahead[side]+tt.want)
						from.hear(t, ahead[1-side])
						s.exchange(pattern(40_000, 1), pattern(40_000, 2))
						s.finish()
					})
				}
			})
		})
	}
}

// also is a path that kernel TLS may give way to.
func also(p *path, other string) string {
	if p.name == "ktls" {
		return other
	}
	return ""
}

// partly has a connection read what has come of a record that has not all come.
func partly(t *testing.T, c *handshake.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(still))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read a part of a record: %d, %v", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// A peer that has closed before the hand-over has closed after it.
func TestPathClosedBefore(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		for _, version := range versions {
			for _, l := range layouts {
				if !l.client {
					continue
				}
				t.Run(tls.VersionName(version)+"/"+l.name, func(t *testing.T) {
					s := newStage(t, p, scene{version: version}).open(t, setup{
						layout: l, records: true, toServer: "a LOGOUT", also: also(p, "user"),
						before: func(n int, c *handshake.Conn, p *peer) {
							if n != 0 {
								return
							}
							p.closeWrite(t)
							if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
								t.Fatalf("before the hand-over: %d, %v", n, err)
							}
						},
					})
					if got, err := s.server.ended(); err != nil || got != "a LOGOUT" {
						t.Errorf("the back end got %q, %v", got, err)
					}
					_, _ = io.WriteString(s.server, "* BYE")
					s.server.closeWrite(t)
					if got, err := s.client.ended(); err != nil || got != "* BYE" {
						t.Errorf("the client got %q, %v", got, err)
					}
					if res := s.end(); res.End != forward.ClientClosed || res.Err != nil {
						t.Errorf("account %+v", res)
					}
				})
			}
		}
	})
}
