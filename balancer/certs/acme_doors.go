package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Who comes to these ports has no business with us but for a moment.
const (
	// doorTime bounds one connection, from accept to the end.
	doorTime = 15 * time.Second

	// maxCallers bounds the connections of one door: CAs come with a handful, and
	// strangers shall not take the descriptors of mail.
	maxCallers = 256

	// maxSameCaller bounds those from one address, or one /64 of IPv6. A CA looks from a
	// few places, and from each for all names at once: ten nodes have eighty orders
	// under way.
	maxSameCaller = 96

	// maxRequest bounds a request's header.
	maxRequest = 8 << 10
)

// Doors are the ports at which CAs look for answers: one for HTTP-01, one for
// TLS-ALPN-01. The zero value has none open; its fields are set before the first
// Apply. Any number of goroutines may use it.
type Doors struct {
	Keeper *Keeper      // whose challenges are answered
	Log    *slog.Logger // at level debug; nil: nowhere

	mu         sync.Mutex // guards what follows
	http, alpn *door
}

// Apply opens the ports named, and closes those that are open and not named any
// more. An empty address is no port. A port that is open already stays open, and one
// that cannot be opened leaves the other alone, and what was open in its place: the
// error names it, and Apply may be called again. A port may move between one address
// and all of them; for a moment it is not open then.
func (d *Doors) Apply(httpAddress, alpnAddress string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(
		d.move(&d.http, httpAddress, "http-01", d.serveHTTP),
		d.move(&d.alpn, alpnAddress, "tls-alpn-01", d.serveALPN),
	)
}

// Close closes all ports, and returns when nobody is served any more.
func (d *Doors) Close() { _ = d.Apply("", "") }

// Addresses are where the doors are open, empty where there is none: of HTTP-01 and
// of TLS-ALPN-01.
func (d *Doors) Addresses() (httpAddress, alpnAddress string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.http.at(), d.alpn.at()
}

// A door is one open port.
type door struct {
	address string // as it was asked for
	socket  net.Listener
	done    chan struct{}
	cancel  context.CancelFunc
}

func (o *door) at() string {
	if o == nil {
		return ""
	}
	return o.socket.Addr().String()
}

func (o *door) close() {
	if o == nil {
		return
	}
	o.cancel()
	_ = o.socket.Close()
	<-o.done
}

// move has a door at an address and nowhere else.
func (d *Doors) move(at **door, address, what string, serve func(context.Context, net.Listener)) error {
	if old := *at; old != nil && old.address == address {
		return nil
	}
	if address == "" {
		(*at).close()
		*at = nil
		return nil
	}
	socket, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) && (*at).overlaps(address) {
		// It is our own door that is in the way, as that of all addresses is in that
		// of one: it has to go first, and comes back if it was not.
		old := (*at).address
		(*at).close()
		*at = nil
		if socket, err = net.Listen("tcp", address); err != nil {
			if back, backErr := net.Listen("tcp", old); backErr == nil {
				*at = begin(old, back, serve)
			} else {
				err = fmt.Errorf("%w; nor is %s open any more: %w", err, old, backErr)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("open %s for the %s challenges of CAs: %w", address, what, err)
	}
	(*at).close()
	*at = begin(address, socket, serve)
	return nil
}

// overlaps says whether an address may be taken because the door is open.
func (o *door) overlaps(address string) bool {
	if o == nil {
		return false
	}
	_, port, err := net.SplitHostPort(address)
	_, ours, _ := net.SplitHostPort(o.at())
	return err == nil && port == ours
}

// begin serves at a socket until the door is closed.
func begin(address string, socket net.Listener, serve func(context.Context, net.Listener)) *door {
	ctx, cancel := context.WithCancel(context.Background())
	o := &door{address, &few{Listener: socket}, make(chan struct{}), cancel}
	go func() { // ends with close
		defer close(o.done)
		serve(ctx, o.socket)
	}()
	return o
}

func (d *Doors) serveHTTP(ctx context.Context, l net.Listener) {
	s := &http.Server{
		Handler:     d.Keeper.Challenges(),
		ReadTimeout: doorTime, WriteTimeout: doorTime, IdleTimeout: doorTime, MaxHeaderBytes: maxRequest,
		ErrorLog:    slog.NewLogLogger(d.log().Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	s.SetKeepAlivesEnabled(false)
	_ = s.Serve(l) // the socket is closed
	_ = s.Close()
}

func (d *Doors) serveALPN(ctx context.Context, l net.Listener) {
	var callers sync.WaitGroup
	defer callers.Wait()
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if c := d.Keeper.Challenge(h); c != nil {
			return c, nil
		}
		return nil, errors.New("not a CA with a challenge")
	}}
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as no descriptor left
			pause := time.NewTimer(100 * time.Millisecond)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
			continue
		}
		callers.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(doorTime))
			ctx, cancel := context.WithTimeout(ctx, doorTime)
			defer cancel()
			t := tls.Server(conn, config)
			if err := t.HandshakeContext(ctx); err != nil {
				d.log().Debug("no challenge", "client", conn.RemoteAddr(), "err", err)
				return
			}
			_ = t.Close()
		})
	}
}

func (d *Doors) log() *slog.Logger {
	if d.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Log
}

// few is a listener with a bound on open connections. It is the oldest that makes room
// for the newest: who has business here is done long before, and who only holds a
// connection open shall keep nobody out.
type few struct {
	net.Listener
	mu   sync.Mutex // guards open
	open []*caller  // the oldest first
}

func (f *few) Accept() (net.Conn, error) {
	conn, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &caller{Conn: conn, of: f, from: neighbourhood(conn.RemoteAddr())}
	if old := f.admit(c); old != nil {
		_ = old.Close()
	}
	return c, nil
}

// admit takes a caller in, and says who has to go for him.
func (f *few) admit(c *caller) (old *caller) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := 0
	for _, o := range f.open {
		if o.from == c.from {
			same++
		}
	}
	switch {
	case same >= maxSameCaller:
		old = f.open[slices.IndexFunc(f.open, func(o *caller) bool { return o.from == c.from })]
	case len(f.open) >= maxCallers:
		old = f.open[0]
	}
	f.open = append(slices.DeleteFunc(f.open, func(o *caller) bool { return o == old }), c)
	return old
}

// neighbourhood is what one stranger has at his command of addresses.
func neighbourhood(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits)
	return p
}

// A caller is one open connection.
type caller struct {
	net.Conn
	of   *few
	from netip.Prefix
}

func (c *caller) Close() error {
	c.of.mu.Lock()
	c.of.open = slices.DeleteFunc(c.of.open, func(o *caller) bool { return o == c })
	c.of.mu.Unlock()
	return c.Conn.Close()
}
