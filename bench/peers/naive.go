package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"

	"github.com/pires/go-proxyproto"
)

// A Naive is the proxy that anybody would write in Go: crypto/tls, two goroutines
// for each session, io.Copy. It moves octets and knows no mail. What usher is
// cheaper by is usher's doing, and not Go's.
type Naive struct {
	IMAP, IMAPS, POP3, POP3S string // addresses to listen on
	SinkIMAP, SinkPOP3       string // the back ends
	CertFile, KeyFile        string

	routes []route
}

// A route is a listener and what is behind it.
type route struct {
	listener net.Listener
	sink     string
	tls      *tls.Config // nil: plaintext
}

// Flags defines a flag for each field, by the function of a flag set that does.
func (n *Naive) Flags(define func(to *string, name, value, usage string)) {
	define(&n.IMAP, "imap", "", "address of IMAP without TLS")
	define(&n.IMAPS, "imaps", "", "address of IMAP with TLS")
	define(&n.POP3, "pop3", "", "address of POP3 without TLS")
	define(&n.POP3S, "pop3s", "", "address of POP3 with TLS")
	define(&n.SinkIMAP, "sink-imap", "", "back end of IMAP")
	define(&n.SinkPOP3, "sink-pop3", "", "back end of POP3")
	define(&n.CertFile, "cert", "", "certificate, PEM")
	define(&n.KeyFile, "key", "", "its key, PEM")
}

// arguments are the flags of a process that is to be like n.
func (n *Naive) arguments() []string {
	var args []string
	n.Flags(func(field *string, name, _, _ string) { args = append(args, "--"+name, *field) })
	return args
}

// Listen implements [Child].
func (n *Naive) Listen() ([]string, error) {
	cert, err := tls.LoadX509KeyPair(n.CertFile, n.KeyFile)
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{
		Certificates:     []tls.Certificate{cert},
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	var addrs []string
	for _, r := range []struct {
		addr, sink string
		tls        *tls.Config
	}{{n.IMAP, n.SinkIMAP, nil}, {n.IMAPS, n.SinkIMAP, secure}, {n.POP3, n.SinkPOP3, nil}, {n.POP3S, n.SinkPOP3, secure}} {
		l, err := net.Listen("tcp", r.addr)
		if err != nil {
			return nil, errors.Join(err, n.close())
		}
		n.routes = append(n.routes, route{l, r.sink, r.tls})
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// Serve implements [Child].
func (n *Naive) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = n.close() })
	defer stop()
	failed := make(chan error, len(n.routes))
	for _, r := range n.routes {
		go func() {
			for {
				c, err := r.listener.Accept()
				if err != nil {
					failed <- err
					return
				}
				go r.serve(c)
			}
		}()
	}
	err := <-failed
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (n *Naive) close() error {
	var errs []error
	for _, r := range n.routes {
		errs = append(errs, r.listener.Close())
	}
	return errors.Join(errs...)
}

// serve is one session.
func (r route) serve(client net.Conn) {
	defer client.Close()
	from, to := client.RemoteAddr(), client.LocalAddr()
	if r.tls != nil {
		client = tls.Server(client, r.tls)
	}
	server, err := net.Dial("tcp", r.sink)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := proxyproto.HeaderProxyFromAddrs(2, from, to).WriteTo(server); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pass(server, client) })
	pass(client, server)
	both.Wait()
}

// pass moves octets until there are no more, and says so.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from) // whatever it was, it is over
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

func naive() Peer {
	peer := Peer{
		Name:    "naive",
		Note:    "a reference, no peer: what anybody would write in Go (crypto/tls, two goroutines, io.Copy); knows no user, and no STARTTLS",
		Curve:   tls.X25519,
		Serves:  noStartTLS,
		Version: func() (string, error) { return runtime.Version(), nil },
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		return site.serve(ctx, peer, func(p *place) error {
			n := &Naive{
				IMAP: p.IMAP(), IMAPS: p.IMAPS(), POP3: p.POP3(), POP3S: p.POP3S(),
				SinkIMAP: p.SinkIMAP, SinkPOP3: p.SinkPOP3,
				CertFile: p.CertFile, KeyFile: p.KeyFile,
			}
			_, err := p.startSelf(p.group, append([]string{"naive"}, n.arguments()...)...)
			return err
		})
	}
	return peer
}
