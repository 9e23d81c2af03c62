package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
)

// Protocols of the fleet port, by ALPN: one TCP port for all, and UDP with the
// same number for gossip, which memberlist encrypts itself.
const (
	protoRaft   = "usher-raft/1"
	protoGossip = "usher-gossip/1"
	protoAPI    = "http/1.1"
)

const (
	// handshakeTime bounds TLS with a peer.
	handshakeTime = 5 * time.Second
	// maxHandshakes bounds the strangers that are being looked at.
	maxHandshakes = 64
	// maxPacket is more than memberlist sends.
	maxPacket = 65536
)

// A port is the fleet port. It is memberlist's transport and raft's.
type port struct {
	log       *slog.Logger
	tcp       *net.TCPListener
	udp       *net.UDPConn
	advertise *net.TCPAddr

	id     atomic.Pointer[identity]
	octets octets

	mu       sync.Mutex // guards what follows
	complain time.Time
	kept     int                 // refusals since
	met      map[string]struct{} // addresses of members, also of former ones
	open     map[net.Conn]string // that came in, by what was believed; nil when closed

	packets chan *memberlist.Packet
	streams chan net.Conn
	raft    chan net.Conn
	api     chan net.Conn
	done    chan struct{}
	closing sync.Once
	running sync.WaitGroup
}

// openPort listens on bind, host:port; advertise is what others connect to, empty
// for bind's own.
func openPort(bind, advertise string, id *identity, log *slog.Logger) (*port, error) {
	l, err := net.Listen("tcp", bind)
	if err != nil {
		return nil, fmt.Errorf("fleet port: %w", err)
	}
	tcp, _ := l.(*net.TCPListener)
	at, _ := tcp.Addr().(*net.TCPAddr)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone})
	if err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("fleet port: %w", err)
	}
	p := &port{
		log: log, tcp: tcp, udp: udp, advertise: at,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), raft: make(chan net.Conn), api: make(chan net.Conn),
		done: make(chan struct{}), open: make(map[net.Conn]string),
	}
	p.id.Store(id)
	if advertise != "" {
		if p.advertise, err = net.ResolveTCPAddr("tcp", advertise); err != nil {
			p.close()
			return nil, fmt.Errorf("fleet.advertise: %w", err)
		}
		if p.advertise.Port == 0 {
			p.advertise.Port = at.Port
		}
	}
	if p.advertise.IP.IsUnspecified() {
		p.close()
		return nil, errors.New("fleet.bind is every address: say with fleet.advertise at which others find this node")
	}
	p.running.Go(p.accept)
	p.running.Go(p.receive)
	return p, nil
}

func (p *port) close() {
	p.closing.Do(func() {
		close(p.done)
		_ = p.tcp.Close()
		_ = p.udp.Close()
		p.mu.Lock()
		open := p.open
		p.open = nil
		p.mu.Unlock()
		for c := range open { // raft does not close what came in by itself
			_ = c.Close()
		}
	})
	p.running.Wait()
}

// An incoming connection is closed with the port.
type incoming struct {
	metered
	p *port
}

// keep has a connection closed with the port.
func (p *port) keep(c net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		_ = c.Close()
	} else {
		p.open[c] = "" // nobody yet
	}
	return incoming{metered{c, &p.octets}, p}
}

// Close implements net.Conn.
func (i incoming) Close() error {
	i.p.mu.Lock()
	delete(i.p.open, i.Conn)
	i.p.mu.Unlock()
	return i.Conn.Close()
}

// accept takes connections and sorts them by protocol.
func (p *port) accept() {
	slots := make(chan struct{}, maxHandshakes)
	for {
		c, err := p.tcp.Accept()
		if err != nil {
			select {
			case <-p.done:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors, say
				continue
			}
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		p.running.Go(func() {
			defer func() { <-slots }()
			p.welcome(p.keep(c))
		})
	}
}

// welcome does TLS with a peer and hands the connection on.
func (p *port) welcome(raw net.Conn) {
	peer := &spoken{Conn: raw}
	c := tls.Server(peer, p.id.Load().config(protoRaft, protoGossip, protoAPI))
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	p.running.Go(func() { // ends with this call, or with the port
		select {
		case <-p.done:
			_ = raw.Close()
		case <-ctx.Done():
		}
	})
	if err := c.HandshakeContext(ctx); err != nil {
		stop()
		_ = raw.Close()
		if ctx.Err() != nil {
			err = errSilent
		}
		p.failed(raw.RemoteAddr(), peer.yes, err)
		return
	}
	stop()
	if !p.believe(raw, c.ConnectionState()) {
		_ = c.Close()
		return // it came in by a version of the secret that was given up meanwhile
	}
	to := map[string]chan net.Conn{protoRaft: p.raft, protoGossip: p.streams, protoAPI: p.api}[c.ConnectionState().NegotiatedProtocol]
	if to == nil {
		_ = c.Close()
		p.refused(raw.RemoteAddr().String(), errors.New("it speaks none of our protocols"))
		return
	}
	select {
	case to <- c:
	case <-p.done:
		_ = c.Close()
	}
}

// receive takes packets for memberlist.
func (p *port) receive() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := p.udp.ReadFrom(buf)
		now := time.Now()
		p.octets.in.Add(uint64(n))
		if err != nil {
			select {
			case <-p.done:
				return
			default:
				continue
			}
		}
		select {
		case p.packets <- &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: now}:
		case <-p.done:
			return
		}
	}
}

// dial connects to another node's fleet port.
func (p *port) dial(ctx context.Context, address, protocol string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := tls.Client(metered{raw, &p.octets}, p.id.Load().config(protocol))
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	if c.ConnectionState().NegotiatedProtocol != protocol {
		_ = c.Close()
		return nil, fmt.Errorf("%s speaks no %s", address, protocol)
	}
	return c, nil
}

func (p *port) dialWithin(address, protocol string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return p.dial(ctx, address, protocol)
}

// What follows implements memberlist.Transport.

// FinalAdvertiseAddr implements memberlist.Transport.
func (p *port) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return p.advertise.IP, p.advertise.Port, nil
}

// WriteTo implements memberlist.Transport.
func (p *port) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return time.Time{}, err
	}
	n, err := p.udp.WriteTo(b, to)
	p.octets.out.Add(uint64(max(n, 0)))
	return time.Now(), err
}

// PacketCh implements memberlist.Transport.
func (p *port) PacketCh() <-chan *memberlist.Packet { return p.packets }

// DialTimeout implements memberlist.Transport.
func (p *port) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return p.dialWithin(addr, protoGossip, timeout)
}

// StreamCh implements memberlist.Transport.
func (p *port) StreamCh() <-chan net.Conn { return p.streams }

// Shutdown implements memberlist.Transport. The port is closed by its owner.
func (p *port) Shutdown() error { return nil }

// A layer is a protocol of the port as a net.Listener: raft's stream layer, and
// what HTTP is served on.
type layer struct {
	p     *port
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *port) layer(conns chan net.Conn) *layer {
	return &layer{p: p, conns: conns, done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *layer) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
	case <-l.p.done:
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *layer) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *layer) Addr() net.Addr { return l.p.advertise }

// Dial implements raft.StreamLayer.
func (l *layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return l.p.dialWithin(string(address), protoRaft, timeout)
}
