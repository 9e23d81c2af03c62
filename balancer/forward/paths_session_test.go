package forward_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net"
	"testing"
	"time"

	"usher.example/balancer/forward"
)

// A peer is a client or a back end. It is a *wire, a *tls.Conn or a
// *net.TCPConn.
type peer struct {
	net.Conn
	raw *net.TCPConn
}

// wire is the peer of a setup with records.
func (p *peer) wire() *wire { return p.Conn.(*wire) }

// say sends data, and to wants it at the other end.
func (p *peer) say(t *testing.T, text string, to *peer) {
	t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
	to.hear(t, text)
}

// hear wants data to come.
func (p *peer) hear(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

// ended reads up to the end, which must come in order.
func (p *peer) ended() (string, error) {
	if w, ok := p.Conn.(*wire); ok {
		return w.ended()
	}
	got, err := io.ReadAll(p)
	return string(got), err
}

// shut says that the peer sends nothing more: close_notify under TLS, and FIN.
func (p *peer) shut() error {
	err := p.Conn.(interface{ CloseWrite() error }).CloseWrite()
	if _, ok := p.Conn.(*tls.Conn); ok {
		err = errors.Join(err, p.raw.CloseWrite())
	}
	return err
}

func (p *peer) closeWrite(t *testing.T) {
	t.Helper()
	if err := p.shut(); err != nil {
		t.Fatal(err)
	}
}

// A session is one that an engine has adopted, with both peers at hand.
type session struct {
	t              *testing.T
	path, also     string
	client, server *peer
	flow           forward.Flow
	done           chan forward.Result
	res            forward.Result
	over           bool
	secure         int         // sides under TLS
	stat           kernelStats // before the adoption
}

// ends are the peer of a side under TLS, 0 the client's, and the other one.
func (s *session) ends(side int) (peer, other *peer) {
	if side == 0 {
		return s.client, s.server
	}
	return s.server, s.client
}

// lost wants the session to have ended by a fault of a side, with nothing more
// for the other one.
func (s *session) lost(side int) {
	s.t.Helper()
	want := []forward.End{forward.ClientLost, forward.ServerLost}[side]
	if res := s.end(); res.End != want || res.Err == nil {
		s.t.Errorf("account %+v, want %v with an error", res, want)
	}
	_, other := s.ends(side)
	if b, _ := io.ReadAll(other); len(b) > 0 { // by a reset or not
		s.t.Errorf("%q got through to the other side", b)
	}
}

// end waits for the end of the session, which must have taken its path.
func (s *session) end() forward.Result {
	s.t.Helper()
	if s.over {
		return s.res
	}
	select {
	case s.res = <-s.done:
	case <-time.After(patience):
		s.t.Fatal("the session does not end")
	}
	s.over = true
	s.went("Result", s.res.Path)
	s.check()
	return s.res
}

// went holds the session to its path.
func (s *session) went(who, got string) {
	s.t.Helper()
	if got != s.path && (s.also == "" || got != s.also) {
		s.t.Errorf("the session goes by %q, says its %s, want %q", got, who, s.path)
	}
}

// check holds the session to the kernel's own account of what it did: nothing, or
// both directions of every side under TLS; and that nothing is left of it.
func (s *session) check() {
	s.t.Helper()
	if s.stat == nil {
		return
	}
	sides := 0
	if s.path == "ktls" {
		sides = s.secure
		if s.res.Path != s.path { // one side had to give way
			sides--
		}
	}
	for name, want := range map[string]int{
		"TlsTxSw": sides, "TlsRxSw": sides, "TlsCurrTxSw": 0, "TlsCurrRxSw": 0, "TlsTxRekeyError": 0,
	} {
		if got := statsOfKernel(s.t)[name] - s.stat[name]; got != want {
			s.t.Errorf("the kernel's %s grew by %d, want %d for %d sides by %q", name, got, want, s.secure, s.res.Path)
		}
	}
}

// pattern makes n octets that differ from place to place and from seed to seed.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := mrand.NewPCG(seed, uint64(n))
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	return b
}

// exchange moves data both ways at once and wants it whole.
func (s *session) exchange(up, down []byte) {
	s.t.Helper()
	s.resume(up, down, 0, 0)
}

// resume is exchange for data of which the first octets are under way already.
func (s *session) resume(up, down []byte, sentUp, sentDown int) {
	s.t.Helper()
	errs := make(chan error, 4)
	for _, way := range []struct {
		from, to *peer
		data     []byte
		sent     int
		name     string
	}{{s.client, s.server, up, sentUp, "up"}, {s.server, s.client, down, sentDown, "down"}} {
		go func() {
			_, err := way.from.Write(way.data[way.sent:])
			errs <- err
		}()
		go func() {
			got := make([]byte, len(way.data))
			n, err := io.ReadFull(way.to, got)
			if err == nil && !bytes.Equal(got, way.data) {
				err = errors.New("other octets came than were sent")
			}
			if err != nil {
				err = errors.Join(errors.New(way.name), err)
				s.t.Logf("%s: %d of %d octets came", way.name, n, len(way.data))
			}
			errs <- err
		}()
	}
	var all error
	for range 4 {
		all = errors.Join(all, <-errs)
	}
	if all != nil {
		s.t.Fatal(all)
	}
}

// finish has the client close, the back end answer and close, and wants an
// orderly end.
func (s *session) finish() {
	s.t.Helper()
	s.client.closeWrite(s.t)
	if b, err := io.ReadAll(s.server); err != nil || len(b) > 0 {
		s.t.Errorf("after the client's end the back end got %q, %v", b, err)
	}
	last := "* BYE\r\n"
	_, err := io.WriteString(s.server, last)
	s.server.closeWrite(s.t)
	if b, rerr := io.ReadAll(s.client); err != nil || rerr != nil || string(b) != last {
		s.t.Errorf("after the half-close the client got %q, %v, %v", b, err, rerr)
	}
	if res := s.end(); res.End != forward.ClientClosed || res.Err != nil {
		s.t.Errorf("account %+v, want that the client closed", res)
	}
}
