package handshake

import (
	"crypto/cipher"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// Write implements net.Conn. If the peer has asked for new keys, or ours have
// been used enough, it sends a KeyUpdate first (RFC 8446 §4.6.3). An error other
// than the misuse of a closed Conn is for ever.
func (c *Conn) Write(p []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Write(p)
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	done := 0
	for done < len(p) {
		if c.gone.Load() {
			return done, errGone(c.raw)
		}
		n := min(len(p)-done, record.MaxPlaintext)
		seal := func(dst []byte) ([]byte, error) { return c.sealData(dst, p[done:done+n]) }
		if err := c.send(seal, c.raw.Write); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// sealed are buffers for records on their way out. They never hold plaintext
// beyond the call that seals it.
var sealed = sync.Pool{New: func() any { return new([recordRoom]byte) }}

// recordRoom has place for a KeyUpdate and a record of data.
const recordRoom = record.MaxRecord + 64

// send writes what seal appends, all of it.
func (c *Conn) send(seal func(dst []byte) ([]byte, error), write func([]byte) (int, error)) error {
	if c.writeErr != nil {
		return c.writeErr
	}
	buf, ok := sealed.Get().(*[recordRoom]byte)
	if !ok {
		buf = new([recordRoom]byte)
	}
	defer sealed.Put(buf)
	b, err := seal(buf[:0])
	// What was sealed before a failure has used its sequence number: send it.
	if len(b) > 0 {
		if _, werr := write(b); werr != nil {
			c.writeErr = werr
			return werr
		}
	}
	return err
}

// writeNow writes what the socket takes without waiting, and fails if that is not
// all. It is for the last words that nobody asked for: a peer that does not read
// must hold up neither a Close nor a Read that has failed.
func (c *Conn) writeNow(b []byte) (int, error) {
	_ = c.raw.SetWriteDeadline(time.Time{}) // one that was missed would forbid it
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	werr := raw.Write(func(fd uintptr) bool {
		for {
			n, err = unix.Write(int(fd), b)
			if err != unix.EINTR { //nolint:errorlint // a system call's own
				return true
			}
		}
	})
	switch {
	case werr != nil:
		return 0, werr
	case err != nil:
		return 0, err
	case n < len(b):
		return n, io.ErrShortWrite
	}
	return n, nil
}

// sealData appends data, one record at most, and a KeyUpdate ahead if it is due.
func (c *Conn) sealData(dst, data []byte) ([]byte, error) {
	if c.asked.Swap(false) {
		c.writer.Owe()
	}
	if c.writer.Due(1, 0) {
		a, err := c.sealing()
		if err != nil {
			return dst, err
		}
		if dst, err = c.writer.AppendKeyUpdate(dst, a, false); err != nil {
			return dst, err
		}
		c.sealer = nil
	}
	a, err := c.sealing()
	if err != nil {
		return dst, err
	}
	return c.writer.Append(dst, a, data)
}

// alert sends an alert, the last thing that is sent. A second one is not.
func (c *Conn) alert(alert record.Alert, write func([]byte) (int, error)) error {
	err := c.send(func(dst []byte) ([]byte, error) {
		a, err := c.sealing()
		if err != nil {
			return dst, err
		}
		return c.writer.AppendAlert(dst, a, alert)
	}, write)
	if errors.Is(err, record.ErrClosed) {
		return nil
	}
	return err
}

// sealing returns the cipher of the writer's present keys.
func (c *Conn) sealing() (cipher.AEAD, error) {
	if c.sealer == nil {
		a, err := c.writer.AEAD()
		if errors.Is(err, record.ErrNoKeys) {
			return nil, record.ErrClosed // an alert was sent, or came
		}
		if err != nil {
			return nil, err
		}
		c.sealer = a
	}
	return c.sealer, nil
}

// errGone is what net says of a closed connection.
func errGone(c Raw) error {
	return &net.OpError{Op: "use", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: net.ErrClosed}
}
