package main

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"usher.example/cmd/internal/config"
)

// given is a socket as systemd hands one over, and its address.
func given(t *testing.T, name, address string) (*os.File, string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	named := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { named.Close() })
	return named, l.Addr().String()
}

func TestSystemdSockets(t *testing.T) {
	byName, nameAddr := given(t, "imaps", "127.0.0.1:0")
	byAddress, addr := given(t, "usher.socket", "127.0.0.1:0")
	stray, _ := given(t, "stray", "127.0.0.1:0")
	null, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	notSocket := os.NewFile(uintptr(null), "imaps") // no socket at all, with a listener's name
	defer notSocket.Close()
	s := socketSet{notSocket, byName, byAddress, stray}
	for _, tt := range []struct{ name, address, want string }{
		{"imaps", nameAddr, nameAddr},
		{"imaps", "127.0.0.1:1", ""}, // it has moved: the name alone is not enough
		{"imaps", addr, addr},
		{"imap", addr, addr},
		{"imap", "127.0.0.1:1", ""},
	} {
		for range 2 { // a listener may go and come back
			got := ""
			if l := s.find(tt.name, tt.address); l != nil {
				got = l.Addr().String()
				l.Close()
			}
			if got != tt.want {
				t.Errorf("find %s %s: got %q, want %q", tt.name, tt.address, got, tt.want)
			}
		}
	}
	unused := s.unused([]config.Listener{{Name: "imaps", Address: nameAddr}, {Name: "imap", Address: addr}})
	if len(unused) != 2 || unused[0] != "imaps" || unused[1][:6] != "stray " {
		t.Errorf("unused: %q", unused)
	}
	if moved := s.unused([]config.Listener{{Name: "imaps", Address: "127.0.0.1:1"}, {Name: "imap", Address: addr}}); len(moved) != 3 {
		t.Errorf("unused after imaps has moved: %q", moved)
	}
}

func TestNearAddress(t *testing.T) {
	for _, tt := range []struct {
		have, address string
		want          bool
	}{
		{"[::]:993", ":993", true},
		{"0.0.0.0:993", ":993", true},
		{"[::]:993", "0.0.0.0:993", false}, // more than was asked for,
		{"0.0.0.0:993", "0.0.0.0:993", true},
		{"0.0.0.0:993", ":1993", false},
		{"127.0.0.1:993", ":993", false},
		{"[::]:993", "127.0.0.1:993", false},
		{"127.0.0.1:993", "127.0.0.1:993", true},
	} {
		if got := nearAddress(netip.MustParseAddrPort(tt.have), tt.address); got != tt.want {
			t.Errorf("%s for %s: got %v", tt.have, tt.address, got)
		}
	}
}

func TestSameAddress(t *testing.T) {
	for _, tt := range []struct {
		have, address string
		want          bool
	}{
		{"[::]:993", ":993", true},
		{"0.0.0.0:993", ":993", false},
		{"0.0.0.0:993", "0.0.0.0:993", true},
		{"[::]:993", ":995", false},
		{"127.0.0.1:993", ":993", false},
		{"[::ffff:127.0.0.1]:993", "127.0.0.1:993", true},
		{"127.0.0.2:993", "127.0.0.1:993", false},
	} {
		if got := sameAddress(netip.MustParseAddrPort(tt.have), tt.address); got != tt.want {
			t.Errorf("%s for %s: got %v", tt.have, tt.address, got)
		}
	}
}
