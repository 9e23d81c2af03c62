package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"usher.example/balancer"
)

// A turnstile keeps logins from asking for a place while a reload goes on: the
// balancer gets a configuration before the places do, and in between the one
// does not fit the other. It lasts milliseconds, or with a back end that dies at that moment as long as the kick delay. Logins that have a place
// already, and sessions, do not come by here.
type turnstile struct {
	balancer.Placer
	closed atomic.Pointer[chan struct{}] // nil: open
}

// close stops logins until open is called. Only one may have it closed.
func (t *turnstile) close() (open func()) {
	opened := make(chan struct{})
	t.closed.Store(&opened)
	return sync.OnceFunc(func() {
		t.closed.Store(nil)
		close(opened)
	})
}

// Place is that of the places, as soon as the turnstile is open.
func (t *turnstile) Place(ctx context.Context, pool, user string) (backend, why string, hold uint64, err error) {
	if opened := t.closed.Load(); opened != nil {
		select {
		case <-*opened:
		case <-ctx.Done():
			return "", "", 0, fmt.Errorf("pool %q: wait for a reload: %w", pool, context.Cause(ctx))
		}
	}
	return t.Placer.Place(ctx, pool, user)
}
