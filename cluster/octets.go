package cluster

import (
	"net"
	"sync/atomic"
)

// Octets count what a node's fleet port carries: payload of TCP, TLS included, and of
// UDP. Headers of IP and below are not in it.
type Octets struct {
	In, Out atomic.Uint64
}

// A metered connection is counted.
type metered struct {
	net.Conn
	octets *Octets
}

// Read implements net.Conn.
func (m metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.octets.In.Add(uint64(n))
	return n, err
}

// Write implements net.Conn.
func (m metered) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.octets.Out.Add(uint64(n))
	return n, err
}
