package main

import (
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"

	"usher.example/cmd/internal/config"
)

// A socketSet is the sockets that systemd has opened for us (sd_listen_fds(3)). They
// stay open as long as the process: a listener that a reload takes away and another
// brings back finds its socket again.
type socketSet []*os.File

// systemdSockets are taken from the environment once; who we start does not get them.
var systemdSockets = sync.OnceValue(func() socketSet { return activation.Files(true) })

// find is the socket of a listener: the one with its name (FileDescriptorName=), if that
// is where it wants to be, else the one with its address.
func (s socketSet) find(name, address string) net.Listener {
	if f := s.of(name, address); f != nil {
		if l, err := net.FileListener(f); err == nil {
			return l
		}
	}
	return nil
}

func (s socketSet) of(name, address string) *os.File {
	for _, f := range s {
		if f.Name() == name && nearAddress(tcpAddress(f), address) {
			return f
		}
	}
	for _, f := range s {
		if have := tcpAddress(f); have.IsValid() && sameAddress(have, address) {
			return f
		}
	}
	return nil
}

// unused are those that no listener takes up, by their names and addresses.
func (s socketSet) unused(listeners []config.Listener) (names []string) {
	taken := make(map[*os.File]bool)
	for _, l := range listeners {
		taken[s.of(l.Name, l.Address)] = true
	}
	for _, f := range s {
		if taken[f] {
			continue
		}
		name := f.Name()
		if a := tcpAddress(f); a.IsValid() {
			name += " " + a.String()
		}
		names = append(names, name)
	}
	return names
}

// warnUnused says which sockets nobody answers at.
func (s socketSet) warnUnused(log *logger, listeners []config.Listener) {
	for _, name := range s.unused(listeners) {
		log.Warn("a socket from systemd is of no listener; nobody answers there", "event", "socket_unused", "socket", name)
	}
}

// tcpAddress is where a socket listens; not valid if it does not listen for TCP.
func tcpAddress(f *os.File) netip.AddrPort {
	l, err := net.FileListener(f)
	if err != nil {
		return netip.AddrPort{}
	}
	defer l.Close()
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// nearAddress is sameAddress, and takes also a socket of IPv4 alone for every address. A
// name alone does not do: a listener whose address a reload has changed would stay where
// it was, and the reload would be said to have gone well.
func nearAddress(have netip.AddrPort, address string) bool {
	if !have.IsValid() {
		return false
	}
	if have.Addr() == netip.IPv4Unspecified() && sameAddress(netip.AddrPortFrom(netip.IPv6Unspecified(), have.Port()), address) {
		return true
	}
	return sameAddress(have, address)
}

// sameAddress tells whether a socket is what an address of the configuration means.
// Without a host that is every address, IPv6 and IPv4; a socket of IPv4 alone is less.
func sameAddress(have netip.AddrPort, address string) bool {
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || want.Port != int(have.Port()) {
		return false
	}
	if host, _, err := net.SplitHostPort(address); err != nil || host == "" {
		return have.Addr() == netip.IPv6Unspecified()
	}
	return want.AddrPort().Addr().Unmap() == have.Addr().Unmap()
}
