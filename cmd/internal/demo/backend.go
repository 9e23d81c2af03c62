package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/pires/go-proxyproto"
)

const (
	// headerTime is what the balancer has for its PROXY header, which is in
	// the first segment.
	headerTime = 3 * time.Second
	// bindTime is how long a restart waits for the back end's port: between
	// stop and start the kernel may lend it to a connection to elsewhere.
	bindTime  = 5 * time.Second
	bindPause = 20 * time.Millisecond
)

// A Backend is an IMAP server. It speaks TLS from the first byte and insists on
// a PROXY header before that. One goroutine may use it.
type Backend struct {
	Name   string
	Weight int

	mail   storage
	seats  *seats
	cert   tls.Certificate
	addr   netip.AddrPort
	door   *door // nil while it is stopped
	served chan struct{}
}

// Addr is where it listens, or did before it was stopped.
func (b *Backend) Addr() netip.AddrPort { return b.addr }

// host is the name in its certificate.
func (b *Backend) host() string { return b.Name + "." + Domain }

// Start begins to serve, at the same address each time.
func (b *Backend) Start() error {
	l, err := b.listen()
	if err != nil {
		return fmt.Errorf("start back end %s: %w", b.Name, err)
	}
	b.addr = localAddr(l)
	b.door = &door{Listener: l, conns: make(map[net.Conn]struct{})}
	proxied := &proxyproto.Listener{
		Listener: b.door, ReadHeaderTimeout: headerTime,
		ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil },
	}
	server := imapserver.New(&imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &session{backend: b.Name, conn: c, mail: b.mail, seats: b.seats}, nil, nil
		},
		Caps:   imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}},
		Logger: log.New(io.Discard, "", 0), // it has nothing to say but that connections end
	})
	served := make(chan struct{})
	b.served = served
	go func() {
		defer close(served)
		// It ends when the door is shut, and with no other error.
		_ = server.Serve(tls.NewListener(proxied, &tls.Config{Certificates: []tls.Certificate{b.cert}}))
	}()
	return nil
}

func (b *Backend) listen() (net.Listener, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bindTime)
	defer cancel()
	for {
		l, err := net.Listen("tcp", b.addr.String())
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(bindPause):
		}
	}
}

// Stop ends the server as the death of its machine would: the port is closed
// and so are all connections, without a word.
func (b *Backend) Stop() {
	if b.door == nil {
		return
	}
	b.door.slam()
	<-b.served
	b.seats.clear(b.Name)
	b.door = nil
}

// A door is a listener that knows the connections that came in by it, and can
// close them all. The IMAP library would spare those whose session has not begun
// yet.
type door struct {
	net.Listener

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]struct{}
	shut  bool
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	d.conns[c] = struct{}{}
	return &guest{c, d}, nil
}

// slam closes the listener and every connection.
func (d *door) slam() {
	_ = d.Listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	for c := range d.conns {
		_ = c.Close()
	}
}

// A guest is a connection that says at the door that it leaves.
type guest struct {
	net.Conn
	door *door
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.door.mu.Lock()
	delete(g.door.conns, g.Conn)
	g.door.mu.Unlock()
	return g.Conn.Close()
}
