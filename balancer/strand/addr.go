package strand

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.Local()) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// Remote is the peer's address.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Local is our address; it is not valid if nobody has asked for it before the end.
func (c *Conn) Local() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.local.IsValid() && c.fd >= 0 {
		name := nameNow(c.fd)
		local := addrPort(&name)
		if local.Port() == 0 {
			return local // not connected yet: Connect will change it
		}
		c.local = local
	}
	return c.local
}

// addrPort is an address as the kernel writes it.
func addrPort(a *unix.RawSockaddrAny) netip.AddrPort {
	port := func(p *uint16) uint16 { o := octets(p); return uint16(o[0])<<8 | uint16(o[1]) }
	switch a.Addr.Family {
	case unix.AF_INET:
		in := inet4(a)
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port(&in.Port))
	case unix.AF_INET6:
		in := inet6(a)
		ip := netip.AddrFrom16(in.Addr)
		if in.Scope_id != 0 && !ip.Is4In6() {
			ip = ip.WithZone(zone(in.Scope_id))
		}
		return netip.AddrPortFrom(ip.Unmap(), port(&in.Port))
	}
	return netip.AddrPort{}
}

// zone is the name of an interface, or its number.
func zone(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}
