package certstore_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A capture is what goes over the loopback interface, searched as it goes by.
type capture struct {
	t     *testing.T
	fd    int
	parts chan [][]byte
	ended chan struct{}
	// canary is sent in clear at the end; what was seen of it says that all was.
	canary []byte
	to     net.PacketConn
	found  [][]byte
	seen   int // packets
}

// listen begins to listen to what goes to and from the ports of some nodes, if it may.
func listen(t *testing.T, nodes []*node) *capture {
	t.Helper()
	to, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	ports := []netip.AddrPort{netip.MustParseAddrPort(to.LocalAddr().String())}
	for _, n := range nodes {
		ports = append(ports, netip.MustParseAddrPort(n.address(t)))
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Logf("SKIPPED for the wire, which needs root: %v", err)
		return &capture{t: t, fd: -1}
	}
	c := &capture{t: t, fd: fd, parts: make(chan [][]byte, 8), ended: make(chan struct{}), to: to, canary: make([]byte, 2*window)}
	_, _ = rand.Read(c.canary) // never fails
	t.Cleanup(func() { _ = unix.Close(fd) })
	for _, err := range []error{
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, about(ports)),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: lo.Index}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	go c.run()
	return c
}

// watch looks for some octets from now on.
func (c *capture) watch(parts ...[]byte) {
	if c.fd >= 0 {
		c.parts <- parts
	}
}

func (c *capture) run() {
	defer close(c.ended)
	parts, packet := [][]byte{c.canary}, make([]byte, 128<<10)
	for {
		n, _, err := unix.Recvfrom(c.fd, packet, 0)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return
		}
		for len(c.parts) > 0 {
			parts = append(parts, <-c.parts...)
		}
		if err != nil {
			continue
		}
		c.seen++
		for _, p := range parts {
			if bytes.Contains(packet[:n], p) {
				c.found = append(c.found, p)
			}
		}
		if len(c.found) > 0 && bytes.Equal(c.found[len(c.found)-1], c.canary) {
			return
		}
	}
}

// judge ends it: the canary must be found, and nothing else.
func (c *capture) judge() {
	c.t.Helper()
	if c.fd < 0 {
		return
	}
	until(c.t, "the canary to be heard", func() bool {
		if _, err := c.to.WriteTo(c.canary, c.to.LocalAddr()); err != nil {
			c.t.Fatal(err)
		}
		select {
		case <-c.ended:
			return true
		default:
			return false
		}
	})
	for _, p := range c.found {
		if !bytes.Equal(p, c.canary) {
			c.t.Errorf("octets of a private key went over the wire: %x", p)
		}
	}
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 {
		c.t.Errorf("%d packets were not heard, %v", stats.Drops, err)
	}
	c.t.Logf("%d packets heard", c.seen)
}

// about is a filter for IPv4 on a loopback interface that keeps packets from and to some
// ports (bpf(4)): what else goes on there is not to fill the buffer.
func about(ports []netip.AddrPort) *unix.SockFprog {
	const (
		ether, ip, whole = 14, 0x0800, 1 << 18
		half, header     = unix.BPF_LD | unix.BPF_H, unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH
		equal, answer    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	)
	n := uint8(len(ports))
	p := []unix.SockFilter{
		{Code: half | unix.BPF_ABS, K: 12},
		{Code: equal, K: ip, Jf: 2*n + 3},
		{Code: header, K: ether},
	}
	for side := range uint8(2) { // source, destination
		p = append(p, unix.SockFilter{Code: half | unix.BPF_IND, K: ether + 2*uint32(side)})
		for i, port := range ports {
			left := (1-side)*(n+1) + n - uint8(i) - 1
			p = append(p, unix.SockFilter{Code: equal, K: uint32(port.Port()), Jt: left + 1})
		}
	}
	p = append(p, unix.SockFilter{Code: answer}, unix.SockFilter{Code: answer, K: whole})
	return &unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
}
