package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

// A lock is held by one node of the fleet, and in that node by one caller. The node
// renews it as long as it is held; if it dies, the leader frees the lock.

// LockLease is for how long a lock is had that its node does not renew, because it has
// died or is cut off.
const LockLease = time.Duration(lead.LockLease)

// ErrLockLost: the lock ended before it was released, as this node could not renew it
// for as long as LockLease. Another may have had it since.
var ErrLockLost = errors.New("the lock was lost: this node could not reach its fleet to renew it, and another may have had it since")

// errLockNotHeld: Unlock without Lock.
var errLockNotHeld = errors.New("this node does not hold the lock")

// locks are those of this node, held or waited for.
type locks struct {
	mu sync.Mutex
	by map[string]*lock
}

// A lock is one name on this node.
type lock struct {
	turn  chan struct{} // has an entry while somebody holds the lock or asks the fleet for it
	users int           // who hold it or wait
	nonce uint64        // 0: it is not held
}

// Lock takes a lock, and waits as long as somebody else has it. Only ctx bounds that. If
// the fleet cannot be asked the error is ErrNoLeader, after some seconds. Names are of
// table.MaxLockName octets at most.
func (f *Fleet) Lock(ctx context.Context, name string) error {
	if err := table.CheckLock(name); err != nil {
		return fmt.Errorf("lock %q: %w", name, err)
	}
	l := f.locks.enter(name)
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		f.locks.exit(name, l)
		return fmt.Errorf("lock %q: %w", name, context.Cause(ctx))
	case <-f.ctx.Done():
		f.locks.exit(name, l)
		return fmt.Errorf("lock %q: %w", name, context.Cause(f.ctx))
	}
	if err := f.take(ctx, name, l, true); err != nil {
		<-l.turn
		f.locks.exit(name, l)
		return fmt.Errorf("lock %q: %w", name, err)
	}
	return nil
}

// TryLock takes a lock if nobody has it, and says whether it has.
func (f *Fleet) TryLock(ctx context.Context, name string) (bool, error) {
	if err := table.CheckLock(name); err != nil {
		return false, fmt.Errorf("lock %q: %w", name, err)
	}
	l := f.locks.enter(name)
	select {
	case l.turn <- struct{}{}:
	default:
		f.locks.exit(name, l)
		return false, nil
	}
	err := f.take(ctx, name, l, false)
	if err == nil {
		return true, nil
	}
	<-l.turn
	f.locks.exit(name, l)
	if errors.Is(err, table.ErrLocked) {
		return false, nil
	}
	return false, fmt.Errorf("lock %q: %w", name, err)
}

// Unlock releases a lock, and waits for that no longer than 10 s. The error is
// ErrLockLost if it had been lost before: then nothing is changed. After any other it
// ends by itself within LockLease.
func (f *Fleet) Unlock(ctx context.Context, name string) error {
	l, nonce := f.locks.release(name)
	if l == nil {
		return fmt.Errorf("unlock %q: %w", name, errLockNotHeld)
	}
	defer func() {
		<-l.turn
		f.locks.exit(name, l)
	}()
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for again := false; ; again = true {
		_, err := f.orderOnce(ctx, table.Drop{Name: name, Nonce: nonce})
		switch {
		case err == nil, again && errors.Is(err, table.ErrNotLocked): // by the attempt before
			return nil
		case errors.Is(err, table.ErrNotLocked):
			return fmt.Errorf("unlock %q: %w", name, ErrLockLost)
		case errors.Is(err, ErrNoLeader) && f.pause(ctx, storeAgain) == nil:
		default:
			return fmt.Errorf("unlock %q: it ends by itself within %v: %w", name, LockLease, err)
		}
	}
}

// Holds says that this node has a lock still, by its own table; else ErrLockLost, or that
// it never had it. While the node is isolated the table may be an old one: then the error
// is ErrIsolated.
func (f *Fleet) Holds(name string) error {
	f.locks.mu.Lock()
	l := f.locks.by[name]
	var nonce uint64
	if l != nil {
		nonce = l.nonce
	}
	f.locks.mu.Unlock()
	if nonce == 0 {
		return fmt.Errorf("lock %q: %w", name, errLockNotHeld)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table.Locks[name].Nonce != nonce {
		return fmt.Errorf("lock %q: %w", name, ErrLockLost)
	}
	if !f.node.Leased(bootTime()) {
		return fmt.Errorf("lock %q: %w", name, ErrIsolated)
	}
	return nil
}

// take has the fleet give the lock to this node, whose turn it is. If it is to wait it
// does so until the table shows that the lock is free.
func (f *Fleet) take(ctx context.Context, name string, l *lock, wait bool) error {
	for {
		nonce := rand.Uint64() | 1 // not 0
		f.mu.Lock()
		c := table.Take{Name: name, Node: f.o.Node, Life: f.node.Life(), Nonce: nonce}
		f.mu.Unlock()
		asked, cancel := context.WithTimeout(ctx, storeTime)
		_, _, err := f.order(asked, c)
		cancel()
		if err == nil {
			f.locks.hold(l, nonce) // and it is renewed from now on
			return nil
		}
		switch {
		case errors.Is(err, table.ErrLocked) && wait:
			err = f.until(ctx, func() bool { _, locked := f.table.Locks[name]; return !locked })
		case errors.Is(err, table.ErrNotCounted): // it has not entered yet, or is isolated
			err = f.entered(ctx)
		case !errors.Is(err, table.ErrLocked):
			f.queue(table.Drop{Name: name, Nonce: nonce}) // it may have come about
		}
		if err != nil {
			return err
		}
	}
}

// entered waits until this node's word counts, but no longer than a write may take.
func (f *Fleet) entered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	err := f.until(ctx, func() bool {
		m := f.table.Members[f.o.Node]
		return m != nil && m.Counted && m.Life == f.node.Life()
	})
	if err != nil {
		return fmt.Errorf("this node is isolated from its fleet, or has not joined it yet: %w", err)
	}
	return nil
}

// keepLocks renews what this node holds.
func (f *Fleet) keepLocks() {
	tick := time.NewTicker(time.Duration(lead.RenewEvery))
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
		}
		nonces := f.locks.held()
		if len(nonces) == 0 {
			continue
		}
		f.mu.Lock()
		c := table.Renew{Node: f.o.Node, Life: f.node.Life(), Nonces: nonces}
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(f.ctx, sayTime)
		if _, err := f.orderOnce(ctx, c); err != nil {
			f.log.Debug("locks are not renewed", "locks", len(nonces), "err", err)
		}
		cancel()
	}
}

// enter has a caller wait for a name.
func (s *locks) enter(name string) *lock {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[string]*lock)
	}
	l := s.by[name]
	if l == nil {
		l = &lock{turn: make(chan struct{}, 1)}
		s.by[name] = l
	}
	l.users++
	return l
}

// exit forgets a name that nobody uses any more.
func (s *locks) exit(name string, l *lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.by, name)
	}
}

func (s *locks) hold(l *lock, nonce uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.nonce = nonce
}

// fence is what a command names that is given under a lock; nothing if it is not held.
func (s *locks) fence(name string) table.Fence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.by[name]; l != nil && l.nonce != 0 {
		return table.Fence{Lock: name, Nonce: l.nonce}
	}
	return table.Fence{}
}

// release ends the holding of a name; nil if nobody holds it.
func (s *locks) release(name string) (l *lock, nonce uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l = s.by[name]; l == nil || l.nonce == 0 {
		return nil, 0
	}
	nonce, l.nonce = l.nonce, 0
	return l, nonce
}

// held are the nonces of what is held.
func (s *locks) held() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []uint64
	for _, l := range s.by {
		if l.nonce != 0 {
			list = append(list, l.nonce)
		}
	}
	return list
}
