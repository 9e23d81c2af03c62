package certs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// orderPause is the least time between two orders for one certificate, whatever
	// happens: what needs one sooner is not cured by it. Of certificates that live
	// for hours it is less.
	orderPause = time.Hour

	// orderShare is what of a new certificate's time is the pause then.
	orderShare = 6

	// leastPause is for certificates that are over in a moment, as by a wrong clock.
	leastPause = time.Minute

	// maxPause bounds what is believed of a pause that a node with another clock set.
	maxPause = 4 * time.Hour

	// attemptTime bounds the storing of what became of an order.
	attemptTime = 10 * time.Second
)

// An attempt is what became of the last order for a certificate, as all nodes know it:
// a CA counts those of the whole fleet, and also those of a node before its restart.
type attempt struct {
	At    time.Time     `json:"at"`
	Wait  time.Duration `json:"wait"`  // nanoseconds, before the next
	Tries int           `json:"tries"` // that failed, in a row; 0: it gave a certificate
	What  string        `json:"what,omitempty"`
	Do    string        `json:"do,omitempty"`
	Print string        `json:"print"` // of the policy: another may do better at once
}

func (a attempt) until() time.Time { return a.At.Add(a.Wait) }

func attemptKey(w want) string {
	return path.Join("acme", "orders", certmagic.StorageKeys.Safe(w.name)+".json")
}

// A pausedError says that the time for another order has not come.
type pausedError struct{ attempt }

func (e *pausedError) Error() string {
	return e.What + " (not again before " + e.until().UTC().Format(time.DateTime) + " UTC)"
}

// errStillDue is a certificate that would be renewed as soon as it came: each order
// would lead to the next.
var errStillDue = errors.New("the new certificate is to be renewed at once")

const stillDue = "check this machine's clock; if it is right, the CA gives certificates that are old when they come: tell its operators"

// byHand marks what an administrator wants, pause or not.
type byHand struct{}

// pause is the error of an order that is not to be made yet, or nil.
func (r *registrar) pause(w *work) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if until := w.last.until(); w.last.Print != r.print || !now.Before(until) || until.After(now.Add(maxPause)) {
		return nil
	}
	return &pausedError{w.last}
}

// mayOrder looks whether anybody in the fleet has ordered lately. The caller holds the
// name's lock.
func (r *registrar) mayOrder(ctx context.Context, w *work) error {
	data, err := w.kind.storage(r.storage).Load(ctx, attemptKey(w.want))
	var last attempt
	if err == nil && json.Unmarshal(data, &last) == nil {
		r.mu.Lock()
		if last.At.After(w.last.At) {
			w.last = last
		}
		r.mu.Unlock()
	}
	if ctx.Value(byHand{}) != nil {
		return nil
	}
	return r.pause(w)
}

// ordered takes down what became of an order, here and for others. The caller holds the
// name's lock.
func (r *registrar) ordered(ctx context.Context, w *work, err error) {
	if errors.Is(err, context.Canceled) {
		return // we are told to end, which says nothing of the CA
	}
	r.mu.Lock()
	next := attempt{At: time.Now(), Print: r.print}
	if err == nil {
		next.Wait = orderPause
		if !w.good.IsZero() {
			next.Wait = max(leastPause, min(orderPause, w.good.Sub(next.At)/orderShare))
		}
		next.What, next.Do = errStillDue.Error(), stillDue
	} else {
		next.Tries = w.last.Tries + 1
		if w.last.Print != r.print {
			next.Tries = 1
		}
		next.Wait = pauses[min(next.Tries, len(pauses))-1]
		if w.demanded {
			next.Wait = demandPause
		}
		next.What, next.Do = r.trouble(w, err)
	}
	w.last = next
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTime)
	defer cancel()
	data, err := json.Marshal(next)
	if err == nil {
		err = w.kind.storage(r.storage).Store(ctx, attemptKey(w.want), data)
	}
	if err != nil {
		r.log.Debug("other nodes do not know of the order", "name", w.name, "err", err)
	}
}

// fingerprint is the same for policies under which the same orders fail.
func (p *policy) fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %v %q %v %T\n", p.Email, p.keys(), p.DNS.Resolvers, p.DNS.Wait, p.DNS.Provider)
	if f, ok := p.DNS.Provider.(interface{ Fingerprint() string }); ok { // what it prints has no secret, nor need it be the same elsewhere
		fmt.Fprintln(h, f.Fingerprint())
	}
	for _, i := range p.Issuers {
		fmt.Fprintf(h, "%q %q %x %q %q\n", i.directory(), i.EABKeyID, sha256.Sum256([]byte(i.EABKey)), i.Challenges, i.Chain)
		if i.Roots != nil {
			fmt.Fprintf(h, "%x\n", i.Roots.Subjects()) //nolint:staticcheck // these are of a file, not of the system
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
