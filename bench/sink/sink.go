// Package sink is the back end behind every target of the benchmark: an IMAP and
// POP3 server without mail, made so that it costs little beside what is measured.
//
// It lets any user in, sends messages of the size that is asked for and drops
// those that it is given. It speaks plaintext, and reads over a PROXY header,
// version 1 or 2, if a connection begins with one. It is enough of a server for
// the proxies that are measured to log in to, and no more: there are no folders
// and no messages, and nobody should take it for a model of either protocol.
//
// Laws: the greeting goes out at once, header or not, so that no target waits for
// the sink. Commands that came together are answered together, in order. What is
// sent and dropped is counted in octets of message. A client can make it hold no
// more than maxLine octets.
package sink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"usher.example/bench/bulk"
)

// Options say where a Server listens.
type Options struct {
	// IMAP and POP3 are the addresses to listen on; port 0 lets the kernel
	// choose. At least one is needed.
	IMAP, POP3 []string
	// Wrong is a password that is refused; empty refuses none.
	Wrong string
	// SendFile has large messages sent by sendfile(2) instead of by writes. It
	// costs more on either side, as package bulk says.
	SendFile bool
}

// Stats are what a Server has done so far.
type Stats struct {
	Sessions int64 // connections accepted
	Open     int64 // those that are still there
	Logins   int64
	Refused  int64 // logins with the wrong password
	Sent     int64 // octets of message, by FETCH and RETR
	Received int64 // octets of message, by APPEND
}

// A Server is a sink that listens. Its methods may be called at any time, by any
// number of goroutines; Run once.
type Server struct {
	wrong      string
	send       func(*net.TCPConn, int64) error
	imap, pop3 []*net.TCPListener
	counts     counts

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{} // nil once no more may come
	all   sync.WaitGroup
}

type counts struct {
	sessions, open, logins, refused, sent, received atomic.Int64
}

// Listen listens; Run serves. A client that connects before that waits.
func Listen(o Options) (*Server, error) {
	s := &Server{wrong: o.Wrong, send: bulk.Send, conns: map[*net.TCPConn]struct{}{}}
	if o.SendFile {
		s.send = bulk.SendFile
	}
	if len(o.IMAP)+len(o.POP3) == 0 {
		return nil, errors.New("a sink needs an address for IMAP or POP3")
	}
	for _, of := range []struct {
		addrs []string
		into  *[]*net.TCPListener
	}{{o.IMAP, &s.imap}, {o.POP3, &s.pop3}} {
		for _, addr := range of.addrs {
			// No keep-alive: four system calls for each connection that say
			// nothing on loopback.
			config := net.ListenConfig{KeepAlive: -1}
			l, err := config.Listen(context.Background(), "tcp", addr)
			if err != nil {
				s.close()
				return nil, fmt.Errorf("sink: %w", err)
			}
			*of.into = append(*of.into, l.(*net.TCPListener))
		}
	}
	return s, nil
}

// IMAP is where IMAP is served, in the order of Options.IMAP.
func (s *Server) IMAP() []string { return addrs(s.imap) }

// POP3 is where POP3 is served, in the order of Options.POP3.
func (s *Server) POP3() []string { return addrs(s.pop3) }

func addrs(listeners []*net.TCPListener) []string {
	var all []string
	for _, l := range listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	return Stats{
		Sessions: s.counts.sessions.Load(),
		Open:     s.counts.open.Load(),
		Logins:   s.counts.logins.Load(),
		Refused:  s.counts.refused.Load(),
		Sent:     s.counts.sent.Load(),
		Received: s.counts.received.Load(),
	}
}

// Run serves until ctx is done or a listener fails, then closes all connections
// and waits for their ends. Its error is nil when ctx ended it.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, len(s.imap)+len(s.pop3))
	accept := func(listeners []*net.TCPListener, open func() dialogue) {
		for _, l := range listeners {
			s.all.Go(func() { failed <- s.accept(l, open) })
		}
	}
	accept(s.imap, func() dialogue { return &imap{wrong: s.wrong} })
	accept(s.pop3, func() dialogue { return &pop3{wrong: s.wrong} })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.close()
	s.all.Wait()
	return err
}

func (s *Server) accept(l *net.TCPListener, open func() dialogue) error {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		s.mu.Lock()
		if s.conns == nil {
			s.mu.Unlock()
			_ = c.Close()
			continue
		}
		s.conns[c] = struct{}{}
		s.counts.sessions.Add(1)
		s.counts.open.Add(1)
		s.all.Go(func() { s.serve(c, open()) })
		s.mu.Unlock()
	}
}

// gone forgets a connection that has ended.
func (s *Server) gone(c *net.TCPConn) {
	_ = c.Close()
	s.counts.open.Add(-1)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// close ends all that listens and all that is connected.
func (s *Server) close() {
	for _, l := range append(s.imap[:len(s.imap):len(s.imap)], s.pop3...) {
		_ = l.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}
