package admin

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// maxGuests bounds the connections of the API's port. Operators, dashboards and
	// programs need some dozens; each costs 50 KB at most.
	maxGuests = 256
	// maxGuestsPerAddress is room for several browsers, six connections each, behind
	// one address (IPv6: one /64), and keeps one stranger from taking all.
	maxGuestsPerAddress = 32
)

// A crowd bounds the connections of a listener. When there are too many the oldest one
// goes that has not said who it is, so that strangers cannot shut others out.
type crowd struct {
	net.Listener
	shed atomic.Uint64 // closed for want of room

	mu     sync.Mutex // guards guests
	guests []*guest   // in the order of their coming
}

// A guest is a connection of a crowd.
type guest struct {
	net.Conn
	crowd *crowd
	from  netip.Prefix
	known atomic.Bool // has said who it is
	left  sync.Once
}

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: conn, crowd: c, from: origin(conn.RemoteAddr())}
		out, ok := c.admit(g)
		if out != nil {
			c.shed.Add(1)
			_ = out.Conn.Close() // its handler finds out, and closes g
		}
		if ok {
			return g, nil
		}
	}
}

// admit takes one in, and says which one has to go for it; that may be itself.
func (c *crowd) admit(g *guest) (out *guest, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := 0
	for _, o := range c.guests {
		if o.from == g.from {
			same++
		}
	}
	full, crowded := len(c.guests) >= maxGuests, same >= maxGuestsPerAddress
	if full || crowded {
		i := slices.IndexFunc(c.guests, func(o *guest) bool { return !o.known.Load() && (!crowded || o.from == g.from) })
		if i < 0 {
			return g, false
		}
		out = c.guests[i]
		c.guests = slices.Delete(c.guests, i, i+1)
	}
	c.guests = append(c.guests, g)
	return out, true
}

// count is how many there are.
func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.guests)
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.left.Do(func() {
		g.crowd.mu.Lock()
		defer g.crowd.mu.Unlock()
		if i := slices.Index(g.crowd.guests, g); i >= 0 {
			g.crowd.guests = slices.Delete(g.crowd.guests, i, i+1)
		}
	})
	return g.Conn.Close()
}

// origin is whose connections are counted together.
func origin(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	addr, bits := ap.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64 // what one customer has
	}
	p, _ := addr.Prefix(bits)
	return p
}
