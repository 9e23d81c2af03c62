package record_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/record"
)

// A line is one direction of a connection in memory. Once patient is false, a
// read that finds nothing fails as if its deadline had passed, which crypto/tls
// bears: so a test needs no goroutine.
type line struct {
	mu      sync.Mutex
	cond    *sync.Cond
	buf     bytes.Buffer
	log     []byte // all that was ever written
	patient bool
	ended   bool
}

func newLine() *line {
	l := &line{patient: true}
	l.cond = sync.NewCond(&l.mu)
	return l
}

func (l *line) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, p...)
	l.cond.Broadcast()
	return l.buf.Write(p)
}

func (l *line) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.buf.Len() == 0 && l.patient && !l.ended {
		l.cond.Wait()
	}
	if l.buf.Len() == 0 && !l.ended {
		return 0, os.ErrDeadlineExceeded
	}
	return l.buf.Read(p)
}

func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.cond.Broadcast()
}

// drain takes what nobody has read.
func (l *line) drain() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Next(l.buf.Len()))
}

// An end is one end of two lines.
type end struct{ in, out *line }

func (e end) Read(p []byte) (int, error)     { return e.in.Read(p) }
func (e end) Write(p []byte) (int, error)    { return e.out.Write(p) }
func (end) Close() error                     { return nil }
func (end) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (end) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (end) SetDeadline(time.Time) error      { return nil }
func (end) SetReadDeadline(time.Time) error  { return nil }
func (end) SetWriteDeadline(time.Time) error { return nil }

// readAll reads what is there for a crypto/tls peer. It returns no error if the
// stream just goes no further.
func readAll(c *tls.Conn) ([]byte, error) {
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return b, err
}

// A feed is a Reader with its AEAD and the bytes that make no record yet.
type feed struct {
	r    record.Reader
	a    cipher.AEAD
	rest []byte
	got  []byte         // all data
	seen []record.Event // all that was not data or nothing
}

// push gives the Reader p and keeps what comes of it.
func (f *feed) push(tb testing.TB, p []byte) error {
	tb.Helper()
	f.rest = append(f.rest, p...)
	for {
		if f.a == nil {
			f.a = aead(tb, &f.r.Keys)
		}
		n, ev, err := f.r.Next(f.a, f.rest)
		if err != nil || n == 0 {
			return err
		}
		switch ev.Kind {
		case record.Data:
			f.got = append(f.got, ev.Data...)
		case record.None:
		case record.Updated:
			f.a = nil
			f.seen = append(f.seen, ev)
		case record.Closed: // said again for all that follows
			if !slices.ContainsFunc(f.seen, func(ev record.Event) bool { return ev.Kind == record.Closed }) {
				f.seen = append(f.seen, ev)
			}
		case record.Ticket:
			f.seen = append(f.seen, ev)
		}
		f.rest = f.rest[n:]
	}
}
