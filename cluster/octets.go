package cluster

import (
	"net"
	"sync/atomic"
)

// octets count what a node's fleet port carries: payload of TCP, TLS included, and of
// UDP. Headers of IP and below are not in it.
type octets struct {
	in, out atomic.Uint64
}

// Octets returns what the fleet port has carried up to now; a fleet of one has none.
func (f *Fleet) Octets() (in, out uint64) {
	if f.port == nil {
		return 0, 0
	}
	return f.port.octets.in.Load(), f.port.octets.out.Load()
}

// A metered connection is counted.
type metered struct {
	net.Conn
	octets *octets
}

// Read implements net.Conn.
func (m metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.octets.in.Add(uint64(n))
	return n, err
}

// Write implements net.Conn.
func (m metered) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.octets.out.Add(uint64(n))
	return n, err
}
