package peers

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// headerTime bounds the head of a request.
const headerTime = 10 * time.Second

// An Auth answers what nginx's mail module asks about users (auth_http): that
// everybody may come in, and where his back end is.
type Auth struct {
	Address    string // to listen on; empty: any of 127.0.0.1
	IMAP, POP3 string // the back ends

	listener net.Listener
}

// Listen implements [Child].
func (a *Auth) Listen() ([]string, error) {
	l, err := net.Listen("tcp", cmp.Or(a.Address, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	a.listener = l
	return []string{l.Addr().String()}, nil
}

// Serve implements [Child].
func (a *Auth) Serve(ctx context.Context) error {
	s := &http.Server{Handler: a, ReadHeaderTimeout: headerTime}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// ServeHTTP answers by headers alone, as nginx wants it.
func (a *Auth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	addr := a.IMAP
	if r.Header.Get("Auth-Protocol") == pop3 {
		addr = a.POP3
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Auth-Status", "OK")
	h.Set("Auth-Server", host)
	h.Set("Auth-Port", port)
}
