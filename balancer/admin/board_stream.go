package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// maxViewers at one time, of each way in and role: a team, with a screen on the wall. Each costs a
	// connection and a goroutine, and none of them makes the fleet be asked more.
	maxViewers = 32
	// frameTime is how long a viewer may take to receive a Board. Who is slower is
	// dropped; his page comes back by itself.
	frameTime = 5 * time.Second
	// viewTime ends a stream: who it was may not be allowed to look any more. The page
	// asks again at once.
	viewTime = 10 * time.Minute
)

// roleOf is what the page may offer to the one who asks; orders are refused elsewhere.
func roleOf(ctx context.Context) string {
	if callerOf(ctx).Role.may(RoleOperate) {
		return roleOrders
	}
	return roleLooks
}

// seats bound streams: those of each way in and role by themselves, so that those who may
// less, or have not said who they are, shut out nobody who may more.
type seats struct {
	mu    sync.Mutex // guards taken
	taken map[seat]int
}

// A seat is for callers of one way in and role.
type seat struct {
	via  string // empty: nobody has said who he is
	role Role
}

// enter takes one of so many seats, and returns how to leave it.
func (s *seats) enter(c Caller, most int) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := seat{c.Via, c.Role}
	if s.taken[kind] >= most {
		return nil, false
	}
	if s.taken == nil {
		s.taken = make(map[seat]int)
	}
	s.taken[kind]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken[kind]--; s.taken[kind] == 0 {
			delete(s.taken, kind)
		}
	}, true
}

func (s *Server) boardRoutes(mux *router) {
	mux.Handle(BoardPath, only(http.MethodGet, s.board))
}

func (s *Server) board(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	role := roleOf(r.Context())
	if strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
		asked := make(chan struct{})
		go func() { defer close(asked); s.gathering.round(boardEvery) }()
		taken, err := s.watcher.current(r.Context())
		defer func() { <-asked }() // some seconds at most
		if err != nil {
			refuse(w, http.StatusInternalServerError, "look at the fleet: "+err.Error(), "try again")
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(append(taken.encoded[role], '\n')) // an error: he has gone
		_ = http.NewResponseController(w).Flush()         // before what is waited for
		return
	}
	leave, ok := s.viewers.enter(callerOf(r.Context()), maxViewers)
	if !ok {
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d others of the same role look at this node's dashboard", maxViewers), "look at another node's")
		return
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), viewTime)
	asked := make(chan struct{})
	go func() { defer close(asked); s.gathering.keepAsking(ctx) }()
	defer func() { cancel(); <-asked }() // some seconds at most
	s.stream(ctx, w, role)
}

// stream sends a Board again and again, until the one who looks goes, is too slow,
// or has to show anew who he is.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, role string) {
	conn := http.NewResponseController(w)
	// The bounds of a short answer are not those of this one. A test's recorder has none.
	_ = conn.SetReadDeadline(time.Time{})
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx in between would keep it to itself
	for {
		taken, err := s.watcher.current(ctx)
		if err != nil {
			return
		}
		_ = conn.SetWriteDeadline(time.Now().Add(frameTime))
		if _, err := fmt.Fprintf(w, "event: board\ndata: %s\n\n", taken.encoded[role]); err != nil {
			return
		}
		if conn.Flush() != nil {
			return
		}
		next := time.NewTimer(time.Until(taken.at.Add(boardEvery)))
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}
