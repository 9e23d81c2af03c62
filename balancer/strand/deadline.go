package strand

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// epoch is where now begins. A deadline before it is one that has passed.
var epoch = time.Now().Add(-time.Second)

// now is a monotonic clock, in nanoseconds, never 0.
func now() int64 { return int64(time.Since(epoch)) }

// passed tells whether a deadline has.
func passed(by *atomic.Int64) bool {
	t := by.Load()
	return t != 0 && t <= now()
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.readBy, t, (*net.TCPConn).SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writeBy, t, (*net.TCPConn).SetWriteDeadline)
}

func (c *Conn) setDeadline(by *atomic.Int64, t time.Time, set func(*net.TCPConn, time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if std := c.std.Load(); std != nil {
		return set(std, t)
	}
	if c.fd < 0 {
		return net.ErrClosed
	}
	d := int64(0)
	if !t.IsZero() {
		d = max(int64(t.Sub(epoch)), 1)
	}
	by.Store(d)
	if c.s.waits.Load() == c { // by the strand's own word it does not
		c.s.loop.look(c)
	}
	return nil
}
