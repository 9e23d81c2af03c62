package certs

import (
	"context"
	"errors"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// sweepEvery is the time between two looks of the fleet for certificates that are
	// over.
	sweepEvery = 24 * time.Hour

	// sweepFirst is how long after its start a node looks, and then each time: who
	// looks first does it for all, and one that is restarted daily is to come to it.
	sweepFirst = time.Hour

	// sweepTime bounds one such look: thousands of removals, each of which all nodes
	// are told.
	sweepTime = 30 * time.Minute

	// overFor is for how long a certificate stays that has expired. Nobody wants it any
	// more then: it would have been renewed long before.
	overFor = 14 * 24 * time.Hour

	// orderRoom is what has to be free in the storage to begin with a certificate that
	// was not there before, in octets. One takes a hundredth; the rest is for renewals,
	// and for answers to challenges.
	orderRoom = 1 << 20
)

// A Roomy is a storage that is full some day. Room is how many octets it takes still.
type Roomy interface{ Room() int64 }

var errNoRoom = errors.New("the fleet's table of certificates is almost full: renewals go on, new ones wait until certificates of names that nobody needs any more have expired")

// room says whether there is room for a certificate of a name that has none.
func (r *registrar) room() error {
	if s, ok := r.storage.(Roomy); ok && s.Room() < orderRoom {
		return errNoRoom
	}
	return nil
}

// sweeps takes away certificates that have expired long ago, until ctx ends.
func (r *registrar) sweeps(ctx context.Context) {
	for {
		next := time.NewTimer(time.Until(later(sweepFirst)))
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("expired certificates are not taken away yet", "err", err)
		}
	}
}

var errDoubted = errors.New("the clock is doubted: by it no certificate that is served is good, or one that should have been renewed is over")

// trusted says whether this node's clock is to be believed that a certificate is over: to
// a wrong one all are, and what is swept is gone for the whole fleet. So one that is
// served has to be good by it, and none of the configuration's may be over.
func (r *registrar) trusted(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	good := false
	for _, w := range r.works {
		if p := w.pair.Load(); p != nil {
			switch is := current(p.Leaf, now); {
			case is:
				good = true
			case !w.demanded:
				return false
			}
		}
	}
	return good
}

// sweep does so once, if no node has within sweepEvery.
func (r *registrar) sweep(ctx context.Context) error {
	if !r.trusted(time.Now()) {
		return errDoubted
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	var errs []error
	for _, kind := range []KeyKind{ECDSA, RSA} {
		errs = append(errs, certmagic.CleanStorage(ctx, kind.storage(r.storage), certmagic.CleanStorageOptions{
			Logger: r.zap, Interval: sweepEvery, ExpiredCerts: true, ExpiredCertGracePeriod: overFor,
		}))
	}
	return errors.Join(errs...)
}
