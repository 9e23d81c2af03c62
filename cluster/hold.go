package cluster

import (
	"context"
	"fmt"
	"time"

	"usher.example/cluster/place"
)

// Place says which back end of the pool serves the user now, and why: "stay",
// "pin" or "home". The name is as the client sent it.
//
// With the answer comes a hold: until release is called, the user is live on
// that back end and every other Place of his answers the same. Take it before
// dialling, and release it when the login failed or when the connection to the
// back end is closed, not when the client has gone. Release may be called more
// than once and from any goroutine; it does not block. It is nil with an error.
//
// If the user is live on a back end that can serve no longer, and another one
// could, his sessions there are closed and Place waits until their holds are
// released. The error is then [ErrMoving] if MoveWait or the context ends
// first. Otherwise it is [ErrNoPool] or [ErrNoBackend], at once. No error
// contains the user's name.
func (s *Single) Place(ctx context.Context, pool, user string) (backend, why string, release func(), err error) {
	name := s.names.Normal(user)
	key := s.keyer.Key(pool, name)
	a := s.ask(pool, name, key)
	if a.moving != nil {
		a = s.move(ctx, pool, name, key, a)
	}
	if a.err != nil {
		return "", "", nil, a.err
	}
	switch a.why {
	case place.ByStay:
		s.stats.Stays.Add(1)
	case place.ByPin:
		s.stats.Pins.Add(1)
	default:
		s.stats.Homes.Add(1)
	}
	h := &hold{s: s, key: key, user: a.user}
	return a.backend, a.why, h.release, nil
}

// An answer is what one look at the table gave: a user with a hold more, or
// one who has to leave his back end first (moving), or an error.
type answer struct {
	user    *user
	backend string
	why     string
	err     error
	moving  <-chan struct{} // closed when he has left the back end
	kick    bool            // his sessions there should be closed now
}

// ask places and registers in one step under the lock under which pools change.
func (s *Single) ask(pool, name string, key place.Key) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[pool]
	if p == nil || p.removed {
		return answer{err: fmt.Errorf("pool %q: %w", pool, ErrNoPool)}
	}
	u := s.users[key]
	if u != nil && u.backend.serves() {
		u.hold()
		return answer{user: u, backend: u.backend.name, why: place.ByStay}
	}
	b, why, err := p.base(name, key, u)
	if err != nil {
		s.stats.Refused.Add(1)
		return answer{err: err}
	}
	if u != nil {
		a := answer{moving: u.leaving(), backend: u.backend.name}
		if now := time.Now(); now.Sub(u.kicked) >= kickAgain {
			u.kicked, a.kick = now, true
		}
		return a
	}
	u = &user{backend: b}
	b.users++
	s.users[key] = u
	u.hold()
	return answer{user: u, backend: b.name, why: why}
}

// move waits until the user has left his old back end, and asks again.
func (s *Single) move(ctx context.Context, pool, name string, key place.Key, a answer) answer {
	if !s.enter() {
		s.stats.Expired.Add(1)
		return answer{err: fmt.Errorf("pool %q: too many logins wait for %s: %w", pool, a.backend, ErrMoving)}
	}
	defer s.leave()
	limit := time.NewTimer(s.moveWait)
	defer limit.Stop()
	again := time.NewTicker(kickAgain)
	defer again.Stop()
	for {
		if a.kick {
			s.stats.Kicks.Add(1)
			s.kick(pool, name, a.backend)
		}
		select {
		case <-a.moving:
		case <-again.C: // his back end may also have come back
		case <-ctx.Done():
			s.stats.Expired.Add(1)
			return answer{err: fmt.Errorf("pool %q: sessions on %s do not end: %w: %w", pool, a.backend, ErrMoving, context.Cause(ctx))}
		case <-limit.C:
			s.stats.Expired.Add(1)
			return answer{err: fmt.Errorf("pool %q: sessions on %s did not end in %v: %w", pool, a.backend, s.moveWait, ErrMoving)}
		}
		if a = s.ask(pool, name, key); a.moving == nil {
			if a.err == nil {
				s.stats.Moves.Add(1)
			}
			return a
		}
	}
}

// enter counts a login that waits, unless there are too many.
func (s *Single) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= s.maxWaiting {
		return false
	}
	s.waiting++
	return true
}

func (s *Single) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

// A hold keeps a user on his back end.
type hold struct {
	s        *Single
	key      place.Key
	user     *user
	released bool // guarded by s.mu
}

func (h *hold) release() {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.released {
		return
	}
	h.released = true
	u := h.user
	u.holds--
	u.backend.holds--
	if u.holds > 0 {
		return
	}
	delete(h.s.users, h.key)
	u.backend.users--
	if u.left != nil {
		close(u.left)
	}
	h.s.forget(u.backend)
}

func (u *user) hold() {
	u.holds++
	u.backend.holds++
}

func (u *user) leaving() <-chan struct{} {
	if u.left == nil {
		u.left = make(chan struct{})
	}
	return u.left
}
