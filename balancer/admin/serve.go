package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of what one connection may cost. Who asks is near and quick; these
// end the ones that hang.
const (
	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	// answerTime is for the longest answer, a list of all sessions, and a
	// reader that prints it.
	answerTime = time.Minute
	idleTime   = time.Minute
	maxHeader  = 16 << 10
	// shutdownTime is what answers on their way get at the end.
	shutdownTime = time.Second
)

// Run answers on the unix socket, from [Listen], until ctx is done. It closes
// the listener and returns when no answer is on its way; the error is nil
// unless the socket failed.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	return Serve(ctx, l, s.handler, s.o.Log)
}

// Serve serves h on l within the bounds of this package until ctx is done, then
// closes the listener and returns when no answer is on its way. The error is
// nil unless the listener failed.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	streams, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	srv := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return streams },
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		end() // those who follow something would not leave by themselves
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(l)
	if stop() {
		_ = srv.Close()
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	<-ended
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", l.Addr(), err)
}
