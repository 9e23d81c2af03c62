package dovecot

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// portTokens is where an instance's token server listens.
	portTokens = 10080

	// addressTries is how many addresses of the 64,516 are tried: even with a
	// thousand taken, so many bad guesses in a row do not happen.
	addressTries = 32

	// tokenQuery is the parameter in which Dovecot sends the token.
	tokenQuery = "token"
)

// A tokenServer tells Dovecot whose a bearer token is, as an OAuth 2 provider's
// token information service does. Every instance has one even if it offers no
// such mechanism: holding its listener is what reserves the address.
type tokenServer struct {
	addr   netip.Addr
	users  map[string]string // token -> user
	server *http.Server
	wg     sync.WaitGroup
}

// listenTokens reserves addr, or any free address if addr is zero.
func listenTokens(addr netip.Addr, users map[string]string) (*tokenServer, error) {
	var last error
	for range addressTries {
		try := addr
		if !addr.IsValid() {
			try = netip.AddrFrom4([4]byte{127, 77, byte(1 + rand.IntN(254)), byte(1 + rand.IntN(254))})
		}
		l, err := net.Listen("tcp", netip.AddrPortFrom(try, portTokens).String())
		if err != nil {
			last = err
			if addr.IsValid() {
				break
			}
			continue
		}
		ts := &tokenServer{addr: try, users: users}
		ts.server = &http.Server{Handler: http.HandlerFunc(ts.tokenInfo), ReadHeaderTimeout: 10 * time.Second}
		ts.wg.Go(func() {
			if err := ts.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				panic(fmt.Sprintf("token server: %v", err)) // no test can go on without
			}
		})
		return ts, nil
	}
	return nil, last
}

func (ts *tokenServer) url() string {
	return fmt.Sprintf("http://%s/tokeninfo?%s=", netip.AddrPortFrom(ts.addr, portTokens), tokenQuery)
}

func (ts *tokenServer) tokenInfo(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{"active": false}
	if user, ok := ts.users[r.URL.Query().Get(tokenQuery)]; ok {
		answer = map[string]any{"active": true, "username": user}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (ts *tokenServer) close() {
	ts.server.Close()
	ts.wg.Wait()
}
