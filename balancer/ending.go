package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"usher.example/sniff"
)

const (
	// farewellTime is what a client gets to take our last words.
	farewellTime = time.Second

	// farewellDrain bounds what is read and dropped meanwhile: closing with
	// unread input would make the kernel throw our last words away.
	farewellDrain = 64 << 10
)

// farewell says why we end the session, if there is somebody to tell, and
// closes the connection.
func (s *session) farewell(f *Failure) {
	defer func() { _ = s.raw.Close() }()
	switch f.Kind {
	case ClientGone, ClientTLS, ClientInjection, ProxyHeader:
		return
	case LimitReached, Shed, ShuttingDown, Kicked, ClientTimeout, Internal:
		if s.phase == PhaseTLS || s.b.TLS == TLSImplicit && s.tls == nil {
			return // words before or amid the handshake are nonsense to a TLS client
		}
		if s.front == nil {
			s.open()
		}
		s.in.Queue(func(dst []byte) []byte { return s.front.Goodbye(dst, f.answer()) })
	default:
	}
	_ = s.raw.SetDeadline(time.Now().Add(farewellTime))
	if s.in != nil && s.in.Flush(s.conn()) != nil {
		return
	}
	if s.tls != nil && s.tls.CloseWrite() != nil {
		return
	}
	if s.raw.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, s.raw, farewellDrain)
	}
}

// clientFault makes a Failure of what the dialogue with the client ended with.
func (s *session) clientFault(err error) *Failure {
	if cause := context.Cause(s.ctx); cause != nil {
		return asFailure(cause)
	}
	f := &Failure{Kind: ClientProtocol, Err: err}
	var op *net.OpError
	switch {
	case errors.Is(err, sniff.ErrInjection):
		f.Kind = ClientInjection
	case errors.Is(err, sniff.ErrProxyHeader):
		f.Kind = ProxyHeader
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Kind = ClientTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), isReset(err), errors.As(err, &op):
		f.Kind = ClientGone
	}
	return f
}

// isReset tells whether a peer has torn the connection down.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ETIMEDOUT)
}

// stop ends the session from outside; f is the reason that will be logged. False
// means that it is established by now: its entry has to be killed.
func (s *session) stop(f *Failure) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tag != 0 {
		return false
	}
	s.cancel(f)
	_ = s.raw.SetReadDeadline(past)
	_ = s.raw.SetWriteDeadline(time.Now().Add(farewellTime))
	return true
}

// within sets a deadline, unless the session has been stopped and has the last
// one already.
func (s *session) within(t time.Time, set func(time.Time) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		_ = set(t)
	}
}

// abandon ends the session's connection to a back end that must not be used any
// more. A login on its way tries again where the user is placed now. False
// means that the session is established by now.
func (s *session) abandon(reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tag != 0 {
		return false
	}
	if s.giveUp != nil {
		s.abandoned = fail(Kicked, "%s", reason)
		s.giveUp(fail(BackendUnavailable, "%s", reason))
		if s.relaying {
			_ = s.raw.SetReadDeadline(past) // it waits for the client, not for the back end
		}
	}
	return true
}
