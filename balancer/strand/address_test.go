package strand

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
)

// ipv6 skips where there is none.
func ipv6(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("SKIPPED: no IPv6 here: %v", err)
	}
	_ = l.Close()
}

// TestAddresses has the addresses of accepted connections as the peers have theirs;
// those that are IPv4's in truth are plain.
func TestAddresses(t *testing.T) {
	ipv6(t)
	ls := open(t, 1)
	l := listen(t, "[::]:0") // both families
	s, err := ls.Socket(l)
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *Conn, 1)
	if err := s.Accept(func(c *Conn) { conns <- c; _ = echo(c); _ = c.Close() }, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for _, to := range append([]string{"127.0.0.1", "::1"}, zoned(t)...) {
		peer := dial(t, net.JoinHostPort(to, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)))
		c := wait(t, conns, "a connection")
		between(t, c, peer)
		if c.Remote().Addr().Is4In6() || c.Local().Addr().Is4In6() || c.Local().Addr().String() != to {
			t.Errorf("is between %s and %s, want %s", c.Local(), c.Remote(), to)
		}
		ask(t, peer, "hello")
		_ = peer.Close()
	}
}

// between compares the addresses of a connection with its peer's.
func between(t testing.TB, c *Conn, peer net.Conn) {
	t.Helper()
	if got, want := c.RemoteAddr().String(), peer.LocalAddr().String(); got != want || c.Remote().String() != want {
		t.Errorf("the remote address is %s, %s, want %s", got, c.Remote(), want)
	}
	if got, want := c.LocalAddr().String(), peer.RemoteAddr().String(); got != want || c.Local().String() != want {
		t.Errorf("the local address is %s, %s, want %s", got, c.Local(), want)
	}
}

// TestConnectAddresses connects with all kinds of addresses.
func TestConnectAddresses(t *testing.T) {
	ipv6(t)
	ls := open(t, 1)
	l := listen(t, "[::]:0")
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	for _, to := range append([]string{"127.0.0.1", "::ffff:127.0.0.1", "::1"}, zoned(t)...) {
		addr := netip.AddrPortFrom(netip.MustParseAddr(to), port)
		accepted := make(chan net.Conn, 1)
		_, done := connecting(t, ls.all[0], addr, patience, func(c *Conn, err error) {
			if err != nil {
				t.Error(err)
				return
			}
			c.s.Leave() // Accept blocks
			peer := <-accepted
			between(t, c, peer)
			if c.Net().RemoteAddr().String() != c.RemoteAddr().String() {
				t.Errorf("after it has left it is connected with %s, want %s", c.Net().RemoteAddr(), c.RemoteAddr())
			}
			_ = peer.Close()
		})
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		accepted <- c
		wait(t, done, "a connect to "+to)
	}
}

// zoned is an address of this host that is valid on one interface only, if it has one:
// with the interface's name.
func zoned(t testing.TB) []string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
				return []string{p.Addr().String() + "%" + i.Name}
			}
		}
	}
	t.Log("SKIPPED: addresses with a zone: no interface has one")
	return nil
}
