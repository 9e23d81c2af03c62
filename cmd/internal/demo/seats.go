package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// seats are the back ends' own record of who is logged in where. No balancer has
// a say in it.
type seats struct {
	mu    sync.Mutex // guards what follows
	taken map[*session]seat
	twice []string // what should never have been
}

type seat struct{ user, backend string }

func newSeats() *seats { return &seats{taken: make(map[*session]seat)} }

// take notes a login, and if the user is logged in on another back end, that.
func (r *seats) take(s *session, user, backend string) {
	user = strings.ToLower(user)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.taken {
		if other.user == user && other.backend != backend {
			r.twice = append(r.twice, fmt.Sprintf("%s logged in on %s while he was on %s", user, backend, other.backend))
		}
	}
	r.taken[s] = seat{user, backend}
}

// leave notes the end of a session, whoever ended it.
func (r *seats) leave(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.taken, s)
}

// clear notes that a back end has died, and everybody on it is gone.
func (r *seats) clear(backend string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.taken, func(_ *session, s seat) bool { return s.backend == backend })
}

// At lists the back ends that a user is logged in on, by their own word: one for
// each session.
func (s *Site) At(user string) []string {
	s.seats.mu.Lock()
	defer s.seats.mu.Unlock()
	var list []string
	for _, at := range s.seats.taken {
		if at.user == user {
			list = append(list, at.backend)
		}
	}
	slices.Sort(list)
	return list
}

// Twice lists the times that a user was on two back ends at once, by their own
// word. There should be none.
func (s *Site) Twice() []string {
	s.seats.mu.Lock()
	defer s.seats.mu.Unlock()
	return slices.Clone(s.seats.twice)
}
