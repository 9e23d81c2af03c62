package handshake

import (
	"errors"
	"io"
	"time"

	"usher.example/balancer/record"
)

// smallBuffer is the buffer that a Conn keeps between records: a line of a login
// fits into it. For a larger record a larger one is made, and let go.
const smallBuffer = 512

// past is a deadline that has been missed.
var past = time.Unix(1, 0)

// Read implements net.Conn. It returns io.EOF after the peer's close_notify, and
// [io.ErrUnexpectedEOF] if the stream ends without one: somebody may have cut it
// short, or the peer does not care for the rules. Other errors of the record layer
// are *[record.AlertError]: the peer has been told, or has told us, and nothing
// can be written any more.
func (c *Conn) Read(p []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Read(p)
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.unread) == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
		if err := c.open(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.unread)
	clear(c.unread[:n]) // it may be a password
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.drop()
	}
	return n, nil
}

// fill reads until in holds a record, and no byte more: the socket's queue goes
// to the engine, and to the kernel perhaps, which want it to begin with a record.
func (c *Conn) fill() error {
	for {
		if c.gone.Load() { // the keys may have been wiped
			return errGone(c.raw)
		}
		if c.readErr != nil {
			return c.readErr
		}
		size, complete, err := c.reader.Parse(c.in)
		if err != nil {
			return c.fail(err)
		}
		if complete {
			return nil
		}
		if size == 0 {
			size = record.HeaderLen
		}
		c.reserve(size)
		have := len(c.in)
		n, err := c.raw.Read(c.in[have:size])
		c.in = c.in[:have+n]
		switch {
		case n > 0: // an error comes again
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// reserve makes room for a record of size bytes in all.
func (c *Conn) reserve(size int) {
	if size <= cap(c.in) {
		return
	}
	c.in = append(make([]byte, 0, max(size, smallBuffer)), c.in...)
}

// drop forgets the record in the buffer, and a large buffer with it. Whatever was
// data has been cleared.
func (c *Conn) drop() {
	c.unread, c.in = nil, c.in[:0]
	if cap(c.in) > smallBuffer {
		c.in = nil
	}
}

// open opens the record in the buffer and does what it says.
func (c *Conn) open() error {
	if c.opener == nil {
		a, err := c.reader.AEAD()
		if err != nil {
			return err
		}
		c.opener = a
	}
	if c.feed != nil {
		c.feed.hold(c.in)
	}
	_, ev, err := c.reader.Next(c.opener, c.in)
	if err != nil {
		return c.fail(err)
	}
	if c.feed != nil && !c.feed.show(ev.Kind) {
		c.feed = nil
	}
	switch ev.Kind {
	case record.Data:
		c.unread = ev.Data
		return nil
	case record.Closed:
		c.readErr = io.EOF
	case record.Updated:
		c.opener = nil
		if ev.Answer {
			c.asked.Store(true)
		}
	case record.None, record.Ticket:
	}
	c.drop()
	return nil
}

// fail ends the session for err and tells the peer, unless it was the peer who
// told us (RFC 8446 §6.2).
func (c *Conn) fail(err error) error {
	var e *record.AlertError
	if !errors.As(err, &e) {
		return err
	}
	c.readErr = err
	clear(c.in)
	c.drop()
	c.feed, c.opener = nil, nil
	if !c.writeMu.TryLock() {
		// A Write may wait for the peer: it is hopeless, and must not make us
		// wait. It leaves a record unfinished, so that there can be no alert.
		_ = c.raw.SetWriteDeadline(past)
		c.writeMu.Lock()
	}
	defer c.writeMu.Unlock()
	if e.Class == record.Peer {
		c.writer.Close()
	} else {
		_ = c.alert(e.Alert, c.writeNow) // err is what there is to report
	}
	return err
}
