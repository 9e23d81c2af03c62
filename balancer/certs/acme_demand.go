package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"usher.example/balancer/strand"
)

// What clients may cause by asking for names that fit a pattern. With a pattern that
// has a star anybody can make up such names, so all of it is bounded.
const (
	// demandWait is how long a client's handshake waits for the first certificate of
	// a name. CAs take some seconds; limits.login_time is a minute by default.
	demandWait = 25 * time.Second

	// demandsAtOnce bounds orders that clients have caused, at a time.
	demandsAtOnce = 4

	// demandsPerHour bounds them over time. Let's Encrypt takes 300 orders in three
	// hours, and 5 failures of a name in one.
	demandsPerHour = 60

	// readsPerMinute bounds names of which the storage is asked: for one that it
	// does not have, the fleet's leader is. Those that it has do not count.
	readsPerMinute = 600

	// demandPause is how long a name is not tried again after a failure, if there were
	// no more than maxMisses of those since.
	demandPause = time.Hour

	// demandIdle is how long a certificate is kept, and renewed, that no client
	// asks for. The storage has it for longer.
	demandIdle = 14 * 24 * time.Hour

	// maxDemanded bounds the names that have a certificate or are tried, of some KiB each.
	maxDemanded = 10000
)

var (
	errBudget = fmt.Errorf("more than %d certificates an hour are asked for by clients: this one has to wait", demandsPerHour)
	errFailed = errors.New("a certificate of the name could not be obtained within the last hour")
	errNobody = errors.New("no certificate of the name is to be obtained")
)

// budget bounds what clients cause. The zero value is ready.
type budget struct {
	mu            sync.Mutex
	orders, reads spent
}

// spent counts in a window of time.
type spent struct {
	n     int
	since time.Time
}

func (s *spent) take(limit int, window time.Duration, now time.Time) bool {
	if now.Sub(s.since) >= window {
		s.n, s.since = 0, now
	}
	if s.n >= limit {
		return false
	}
	s.n++
	return true
}

func (b *budget) order(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.orders.take(demandsPerHour, time.Hour, now)
}

func (b *budget) read(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads.take(readsPerMinute, time.Minute, now)
}

// unread takes a read back.
func (b *budget) unread() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads.n = max(b.reads.n-1, 0)
}

// begin waits until an order may be made.
func (r *registrar) begin(ctx context.Context, w *work) (*held, error) {
	r.mu.Lock()
	slots, demanded := r.orders, w.demanded
	r.mu.Unlock()
	if demanded {
		// A renewal is no stranger's doing.
		if slots = r.asked; w.pair.Load() == nil && !r.budget.order(time.Now()) {
			return nil, errBudget
		}
	}
	return slot(slots).take(ctx)
}

// demand has a certificate for a name that a client asks for. It waits for the
// first one, for demandWait at most.
func (r *registrar) demand(ctx context.Context, name string) ([]*tls.Certificate, error) {
	if list := r.at(name); list != nil {
		return list, nil
	}
	if !r.policy().demanded(name) {
		return nil, errNobody
	}
	ctx, cancel := context.WithTimeout(strand.Waiting(ctx), demandWait)
	defer cancel()
	for {
		w, looked, err := r.ask(name)
		if err != nil {
			return nil, err
		}
		select {
		case <-looked:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if list := r.at(name); list != nil {
			return list, nil
		}
		if r.forgotten(w) {
			return nil, errBudget
		}
	}
}

// ask begins to want a name, or joins those who wait for it already.
func (r *registrar) ask(name string) (w *work, looked <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kinds := r.policy().keys()
	first := want{name, kinds[0]}
	if r.presses[first.kind] == nil {
		return nil, nil, errNobody // a plan came, and run has not seen it
	}
	if w = r.works[first]; w == nil {
		if r.misses.has(first, time.Now()) {
			return nil, nil, errFailed
		}
		if !r.budget.read(time.Now()) || len(r.works) >= maxDemanded+len(r.policy().names)*len(kinds) {
			return nil, nil, errBusy
		}
		r.want(name, true)
		w = r.works[first]
		w.counted = true
		now := time.Now().Unix()
		for _, kind := range kinds {
			if w := r.works[want{name, kind}]; w != nil {
				w.used.Store(now)
			}
		}
		r.wake()
	} else if !w.busy && w.err != nil && time.Now().Before(w.due) {
		return nil, nil, errFailed
	}
	return w, w.looked, nil
}

// drop forgets a name that no order is left for: it was looked for in the storage,
// which does not have it, and is worth no place in memory, nor the hour in which
// what failed is not tried again. The caller holds r.mu.
func (r *registrar) drop(w *work) {
	if w.demanded && w.pair.Load() == nil && errors.Is(w.err, errBudget) {
		r.forget(w.want)
	}
}

// forgotten says whether that has happened.
func (r *registrar) forgotten(w *work) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Is(w.err, errBudget)
}

// retire forgets names that clients have asked for and that came to nothing, but for
// when they may be tried again, and those that nobody asks for any more. The caller holds r.mu.
func (r *registrar) retire(now time.Time) {
	for key, w := range r.works {
		if !w.demanded || w.busy {
			continue
		}
		failed := w.pair.Load() == nil && w.err != nil && !stored(w.err)
		if failed && now.Before(w.due) {
			r.misses.add(key, w.due)
		}
		if failed || w.idle(now) > demandIdle {
			r.forget(key)
		}
	}
}
