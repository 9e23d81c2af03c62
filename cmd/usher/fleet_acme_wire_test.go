package main_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// maxHeard bounds what is kept of a capture: a hundred times what a test's fleet says.
const maxHeard = 512 << 20

// A wire is what is heard on the bridge of the fleet's network.
type wire struct {
	t    *testing.T
	fd   int
	done chan struct{}
	over chan struct{}

	mu      sync.Mutex // guards what follows
	heard   []byte
	packets int
	cut     int              // that were longer than what was kept of them
	talks   map[[8]byte]bool // from one address to another by the fleet's port
}

// listen begins to listen.
func listen(t *testing.T) *wire {
	t.Helper()
	ip(t, "link", "set", "fleet0", "promisc", "on") // else it hears only what is for it
	bridge, err := net.InterfaceByName("fleet0")
	if err != nil {
		t.Fatal(err)
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, fd: fd, done: make(chan struct{}), over: make(chan struct{}), talks: make(map[[8]byte]bool)}
	for _, err := range []error{
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: bridge.Index}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	go w.run()
	t.Cleanup(func() {
		close(w.over)
		<-w.done
		_ = unix.Close(fd)
	})
	return w
}

func (w *wire) run() {
	defer close(w.done)
	packet := make([]byte, 128<<10) // more than segments that the kernel has not cut yet
	for {
		select {
		case <-w.over:
			return
		default:
		}
		n, _, err := unix.Recvfrom(w.fd, packet, unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			w.t.Errorf("listen to the fleet: %v", err)
			return
		}
		w.mu.Lock()
		w.packets++
		if n > len(packet) || len(w.heard) > maxHeard {
			w.cut++
			n = 0
		}
		w.heard = append(append(w.heard, packet[:n]...), 0) // nothing reaches over two packets
		if from, to, ok := talk(packet[:n]); ok {
			w.talks[[8]byte(append(from, to...))] = true
		}
		w.mu.Unlock()
	}
}

// talk tells who speaks with whom, by TCP over IPv4 and the fleet's port.
func talk(packet []byte) (from, to []byte, ok bool) {
	const ether = 14
	if len(packet) < ether+20+20 || binary.BigEndian.Uint16(packet[12:]) != 0x0800 || packet[ether+9] != unix.IPPROTO_TCP {
		return nil, nil, false
	}
	h := packet[ether:]
	tcp := h[int(h[0]&15)*4:]
	if len(tcp) < 4 || binary.BigEndian.Uint16(tcp) != portFleet && binary.BigEndian.Uint16(tcp[2:]) != portFleet {
		return nil, nil, false
	}
	return append([]byte(nil), h[12:16]...), h[16:20], true
}

// judge wants to have heard every node, and the decoy in all its forms that is sent in
// clear from one node to another, and before that none of what is sought.
func (w *wire) judge(s *sought, d *decoy, homes []netHome) {
	w.t.Helper()
	canary := make([]byte, 2*rawWindow)
	_, _ = rand.Read(canary) // never fails
	send(w.t, canary, homes[0], homes[1])
	eventually(w.t, "the canary is heard", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return bytes.Contains(w.heard, canary)
	})
	w.mu.Lock()
	for what, n := range s.in(w.heard) {
		w.t.Errorf("%s goes over the fleet's network in clear, %d times", what, n)
	}
	w.t.Logf("%d packets, %d octets heard", w.packets, len(w.heard))
	w.mu.Unlock()
	for i, form := range d.forms {
		before := w.finds(d)
		send(w.t, form, homes[i%len(homes)], homes[(i+1)%len(homes)])
		eventually(w.t, fmt.Sprintf("form %d of the decoy is heard", i), func() bool { return w.finds(d) > before })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range homes {
		for _, b := range homes {
			if at, by := net.ParseIP(a.fleet).To4(), net.ParseIP(b.fleet).To4(); a != b && !w.talks[[8]byte(append(at, by...))] {
				w.t.Errorf("nothing was heard from %s to %s", a.fleet, b.fleet)
			}
		}
	}
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 || w.cut > 0 {
		w.t.Errorf("%d packets were not heard, %d not whole: %v", stats.Drops, w.cut, err)
	}
}

// send sends a packet in clear from one node's place to another's.
func send(t testing.TB, what []byte, from, to netHome) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "packet")
	if err := os.WriteFile(file, what, 0o600); err != nil {
		t.Fatal(err)
	}
	from.run(t, "bash", "-c", `cat "$1" >"/dev/udp/$2/9"`, "bash", file, to.fleet) // discard, RFC 863
}

// finds counts how often anything of the decoy was heard.
func (w *wire) finds(d *decoy) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, times := range d.in(w.heard) {
		n += times
	}
	return n
}
