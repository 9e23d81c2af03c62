package load

import (
	"net"
	"sync"
)

const (
	// wireSize is how much goes through one read or write of the socket while
	// messages are moved. crypto/tls itself makes a write of each record and
	// about one read, which would have the client work more than some targets.
	wireSize = 128 << 10
	// recordSize is what one Read of crypto/tls gives at most (RFC 8446 §5.1).
	recordSize = 16 << 10
	// turn is after how many octets the time for an answer begins anew: a
	// target that moves so much in that time is slow, not hung.
	turn = 64 << 20
)

// buffers are what one transfer over TLS needs.
type buffers struct {
	wire  [wireSize]byte
	plain [recordSize]byte
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

// A wire is what TLS runs over: the connection itself, but for transfers.
type wire struct {
	*net.TCPConn
	in   *buffers // nil but for downloads
	r, w int      // the octets read and not yet taken are in.wire[r:w]
	out  *buffers // nil but for uploads
	held int      // the octets written and not yet sent are out.wire[:held]
}

// Read reads into the large buffer, if there is one.
func (c *wire) Read(p []byte) (int, error) {
	if c.in == nil {
		return c.TCPConn.Read(p)
	}
	if c.r == c.w {
		n, err := c.TCPConn.Read(c.in.wire[:])
		if n == 0 {
			return 0, err
		}
		c.r, c.w = 0, n
	}
	n := copy(p, c.in.wire[c.r:c.w])
	c.r += n
	return n, nil
}

// Write gathers in the large buffer, if there is one; flush sends the rest.
func (c *wire) Write(p []byte) (int, error) {
	if c.out == nil {
		return c.TCPConn.Write(p)
	}
	written := 0
	for len(p) > 0 {
		n := copy(c.out.wire[c.held:], p)
		c.held += n
		written += n
		p = p[n:]
		if c.held == wireSize {
			if err := c.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

func (c *wire) flush() error {
	_, err := c.TCPConn.Write(c.out.wire[:c.held])
	c.held = 0
	return err
}

// receive has the reads that follow be large ones, until received.
func (c *wire) receive() {
	if c.in == nil {
		c.in = pool.Get().(*buffers)
	}
}

// received gives the buffer back, unless more was read than was awaited.
func (c *wire) received() {
	if c.in != nil && c.r == c.w {
		pool.Put(c.in)
		c.in = nil
	}
}

// gather has the writes that follow be large ones, until gathered.
func (c *wire) gather() { c.out = pool.Get().(*buffers) }

// gathered sends what is left and gives the buffer back.
func (c *wire) gathered() error {
	err := c.flush()
	pool.Put(c.out)
	c.out = nil
	return err
}
