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
// With the answer comes a hold: until [Single.Release] is called with it, the user
// is live on that back end and every other Place of his answers the same. Take it
// before dialling, and release it when the login failed or when the connection to
// the back end is closed, not when the client has gone. Release may be called
// more than once and from any goroutine; it does not block. A hold is never 0, but
// with an error it is.
//
// If the user is live on a back end that can serve no longer, and another one
// could, his sessions there are closed and Place waits until their holds are
// released. The error is then [ErrMoving] if MoveWait or the context ends
// first. Otherwise it is [ErrNoPool] or [ErrNoBackend], at once. No error
// contains the user's name.
func (s *Single) Place(ctx context.Context, pool, user string) (backend, why string, hold uint64, err error) {
	name := s.names.Normal(user)
	key := s.keyer.Key(pool, name)
	a := s.ask(pool, name, key)
	if a.moving != nil {
		a = s.move(ctx, pool, name, key, a)
	}
	if a.err != nil {
		return "", "", 0, a.err
	}
	switch a.why {
	case place.ByStay:
		s.stats.Stays.Add(1)
	case place.ByPin:
		s.stats.Pins.Add(1)
	default:
		s.stats.Homes.Add(1)
	}
	return a.backend, a.why, a.hold, nil
}

// An answer is what one look at the table gave: a user with a hold more, or
// one who has to leave his back end first (moving), or an error.
type answer struct {
	hold    uint64
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
	u, live := s.users[key]
	if live && u.backend.serves() {
		return answer{hold: s.hold(key, u), backend: u.backend.name, why: place.ByStay}
	}
	b, why, err := p.base(name, key, u.backend)
	if err != nil {
		s.stats.Refused.Add(1)
		return answer{err: err}
	}
	if live {
		m := s.moves[key]
		if m == nil {
			m = &move{left: make(chan struct{})}
			s.moves[key] = m
		}
		a := answer{moving: m.left, backend: u.backend.name}
		if now := time.Now(); now.Sub(m.kicked) >= kickAgain {
			m.kicked, a.kick = now, true
		}
		return a
	}
	b.users++
	return answer{hold: s.hold(key, user{backend: b}), backend: b.name, why: why}
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

// Release gives a hold back, see [Single.Place].
func (s *Single) Release(hold uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.holds.give(hold)
	if !ok {
		return
	}
	u := s.users[key]
	u.holds--
	u.backend.holds--
	if u.holds > 0 {
		s.users[key] = u
		return
	}
	delete(s.users, key)
	u.backend.users--
	if m := s.moves[key]; m != nil {
		close(m.left)
		delete(s.moves, key)
	}
	s.forget(u.backend)
}

// hold counts a hold more of the user. It is called with mu held.
func (s *Single) hold(key place.Key, u user) uint64 {
	u.holds++
	u.backend.holds++
	s.users[key] = u
	return s.holds.take(key)
}

// Still says whether a login may send its credentials: on the only node it always
// may.
func (*Single) Still(uint64) error { return nil }

// Confirm notes that a login has succeeded, Refused that it was not let in. The only
// node has nobody to tell.
func (*Single) Confirm(uint64) {}

// Refused is as Confirm.
func (*Single) Refused(uint64) {}
