// Package health finds out whether back ends answer, and tells the world
// whether we do.
//
// A [Checker] probes one back end for as long as it runs. It knows no protocol:
// a [Probe] is a function. The rules that turn results into a [State] (rise,
// fall, damping) are a pure state machine in state.go; real connections that
// fail ask for a probe by [Checker.Trigger]. An [Endpoint] answers those who
// watch us.
//
// Laws, each held by a test:
//
//   - A checker has at most one probe under way, and starts a triggered one not
//     before MinGap has passed since the last.
//   - OnChange is called for every change, in order, and under no lock.
//   - A trigger never blocks, and any number of them in a short time is one
//     probe.
//   - When Run returns, the last probe has returned.
//   - At rest there are no regular probes but one now and then, and all others
//     as always: see [Checker.Rest].
//   - A change of options forgets nothing: see [Continue].
//   - /healthz depends on nothing but the process.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Options].
const (
	// DefaultInterval and DefaultFast find a dead back end within 7.2 s, when
	// nobody uses it: the longest interval, 4.8 s, and two more looks. To look
	// every 2 s for ever takes as long and twice the probes.
	DefaultInterval = 4 * time.Second
	// DefaultFast: an outage of less than twice this, as of a mail server that
	// restarts, fells nobody.
	DefaultFast = time.Second
	// RestInterval is the time between two probes at rest. They are not for
	// the verdict: a server that was upgraded says so in its capabilities.
	RestInterval = 5 * time.Minute
	// DefaultJitter keeps the nodes of a fleet, and the back ends of a pool,
	// from being probed in step.
	DefaultJitter = 0.2
	// DefaultRise: one lucky probe of an overloaded server is not its return.
	DefaultRise = 3
	// DefaultFall: one lost packet is not an outage.
	DefaultFall = 3
	// DefaultMinDown: the first fall. Users who were placed elsewhere stay
	// there for a while rather than move twice.
	DefaultMinDown = 10 * time.Second
	// DefaultMaxDown: the longest that a working back end is kept out.
	DefaultMaxDown = 5 * time.Minute
	// DefaultCalm: up for so long, a fall is forgiven.
	DefaultCalm = 2 * time.Minute
	// DefaultMinGap bounds what triggers can do, so that a storm of failed
	// logins is no storm of probes, and a mail server that restarts within a
	// second does not fall for it.
	DefaultMinGap = time.Second
)

// A Probe tries a back end once. It returns nil if the back end is well, or
// what is wrong with it, or an error that is [ErrUntried]. It returns soon after the
// context has ended.
type Probe func(ctx context.Context) error

// ErrUntried is the result of a probe that could not be made for want of something
// here, such as a local port. It says nothing about a back end that has been seen up or
// down: the state stays, and the next probe comes as if this one had not been.
var ErrUntried = errors.New("not tried")

// Options of a [Checker].
type Options struct {
	// Interval from the start of one probe to the start of the next. Zero:
	// DefaultInterval.
	Interval time.Duration
	// Fast is the interval while the last results speak against the state, so
	// that a verdict is soon found and probes are few else. Zero: DefaultFast.
	// Never more than Interval.
	Fast time.Duration
	// Timeout of one probe. Zero: the interval.
	Timeout time.Duration
	// Jitter makes every interval longer or shorter by up to this fraction, at
	// random. Zero: DefaultJitter. Negative: none. At most 1.
	Jitter float64
	// Rise is how many good probes in a row bring a back end up. Zero:
	// DefaultRise.
	Rise int
	// Fall is how many bad probes in a row take it down. Zero: DefaultFall.
	Fall int
	// MinDown is how long a back end that fell stays down at least. Each
	// further fall doubles it. Zero: DefaultMinDown. Negative: no damping.
	MinDown time.Duration
	// MaxDown bounds the doubling. Zero: DefaultMaxDown, or MinDown if that is
	// longer.
	MaxDown time.Duration
	// Calm is the time of staying up that undoes one doubling. Zero:
	// DefaultCalm.
	Calm time.Duration
	// MinGap is the least time from the end of a probe to the start of one
	// that was triggered. Zero: half the interval, but not more than
	// DefaultMinGap.
	MinGap time.Duration
	// OnChange is told of every change of state, by the goroutine that runs
	// the checker: the next probe waits for it. It may call the checker's
	// methods. Nil: nobody is told.
	OnChange func(Change)
	// OnProbe is told of every result, after OnChange and in the same way.
	OnProbe func(good bool)
}

// Validate reports everything that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"interval", o.Interval},
		{"fast", o.Fast},
		{"timeout", o.Timeout},
		{"calm", o.Calm},
		{"max_down", o.MaxDown},
		{"min_gap", o.MinGap},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s %v is negative", d.name, d.value))
		}
	}
	if o.Rise < 0 || o.Fall < 0 {
		errs = append(errs, fmt.Errorf("rise %d or fall %d is negative", o.Rise, o.Fall))
	}
	if o.Jitter > 1 {
		errs = append(errs, fmt.Errorf("jitter %v is more than 1", o.Jitter))
	}
	return errors.Join(errs...)
}

// withDefaults replaces zeros.
func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.Fast = min(cmp.Or(o.Fast, DefaultFast), o.Interval)
	o.Timeout = cmp.Or(o.Timeout, o.Interval)
	o.Rise = cmp.Or(o.Rise, DefaultRise)
	o.Fall = cmp.Or(o.Fall, DefaultFall)
	o.MinDown = cmp.Or(o.MinDown, DefaultMinDown)
	o.MaxDown = max(cmp.Or(o.MaxDown, DefaultMaxDown), o.MinDown)
	o.Calm = cmp.Or(o.Calm, DefaultCalm)
	o.MinGap = cmp.Or(o.MinGap, min(o.Interval/2, DefaultMinGap))
	o.Jitter = max(cmp.Or(o.Jitter, DefaultJitter), 0)
	return o
}

// A Change of state.
type Change struct {
	Old, New State
	// Since is when it happened.
	Since time.Time
	// Err is what the last probe said; nil if New is Up. It may contain what a
	// back end sent.
	Err error
}

// Stats counts what a checker did.
type Stats struct {
	Probes    atomic.Uint64 // that have returned
	Failed    atomic.Uint64 // of these, the bad ones
	Triggers  atomic.Uint64 // calls of Trigger
	Rises     atomic.Uint64 // changes to Up
	Falls     atomic.Uint64 // changes to Down
	LastNanos atomic.Int64  // duration of the last probe
}

// Status is a checker at one moment.
type Status struct {
	State State     `json:"state"`
	Since time.Time `json:"since,omitzero"` // of the state; zero while it is unknown
	// Err is what the last bad probe said, also after the back end's return;
	// nil if there was none. It may contain what a back end sent.
	Err error `json:"-"`
	// Probed is when the last probe returned.
	Probed time.Time `json:"probed,omitzero"`
	// Damped says that the back end answers well and is kept down for having
	// fallen too often; Until is when that ends.
	Damped bool      `json:"damped,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	// Resting says that others probe the back end: see [Checker.Rest].
	Resting bool `json:"resting,omitempty"`
}

// A Checker probes one back end. Its methods are safe for concurrent use.
type Checker struct {
	probe   Probe
	opts    Options
	trigger trigger
	stats   Stats

	mu      sync.Mutex // guards all below
	judge   judge
	lastErr error
	probed  time.Time
	resting bool
}

// New returns a checker that does nothing until it runs. The options must be
// valid.
func New(probe Probe, o Options) *Checker {
	o = o.withDefaults()
	return &Checker{
		probe:   probe,
		opts:    o,
		trigger: newTrigger(),
		judge: judge{
			rise: o.Rise, fall: o.Fall,
			minDown: o.MinDown, maxDown: o.MaxDown, calm: o.Calm,
		},
	}
}

// Continue returns a checker of the same back end under other options, which
// takes over what old knows: the state with its penalties, and what was wrong
// last. Nobody is told of that state again. Results in a row are counted anew,
// and so are the Stats. The old one has ended, or its later results are lost.
func Continue(old *Checker, probe Probe, o Options) *Checker {
	c := New(probe, o)
	old.mu.Lock()
	defer old.mu.Unlock()
	c.lastErr, c.probed, c.resting = old.lastErr, old.probed, old.resting
	c.judge.state, c.judge.since = old.judge.state, old.judge.since
	c.judge.points, c.judge.until = old.judge.points, old.judge.until
	return c
}

// Run probes at once and then again and again until the context ends, and returns
// when the last probe has. The caller starts it, once.
func (c *Checker) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.trigger.asked:
			if !c.trigger.pause(ctx, c.opts.MinGap) {
				return
			}
		}
		start := time.Now()
		c.once(ctx)
		c.trigger.ended = time.Now()
		timer.Reset(max(time.Until(c.next(start)), 0))
	}
}

// once probes, judges and tells.
func (c *Checker) once(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	start := time.Now()
	err := c.probe(limited)
	cancel()
	if ctx.Err() != nil {
		return // we were stopped; that says nothing about the back end
	}
	if errors.Is(err, ErrUntried) && c.untried(err) {
		return
	}
	now := time.Now()
	c.stats.Probes.Add(1)
	c.stats.LastNanos.Store(int64(now.Sub(start)))
	if err != nil {
		c.stats.Failed.Add(1)
	}
	change, changed := c.take(now, err)
	if changed {
		c.tell(change)
	}
	if c.opts.OnProbe != nil {
		c.opts.OnProbe(err == nil)
	}
}

// untried notes a probe that could not be made. It is false while there is no verdict yet:
// what has never been reached may lack more than a port for a while, such as an address of
// its family here, and is not to get users.
func (c *Checker) untried(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.judge.state == Unknown {
		return false
	}
	c.lastErr = err
	return true
}

// tell counts a change and tells of it.
func (c *Checker) tell(change Change) {
	if change.New == Up {
		c.stats.Rises.Add(1)
	} else {
		c.stats.Falls.Add(1)
	}
	if c.opts.OnChange != nil {
		c.opts.OnChange(change)
	}
}

// take hands a result to the judge.
func (c *Checker) take(now time.Time, err error) (Change, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.judge.state
	changed := c.judge.result(now, err == nil)
	c.probed = now
	if err != nil {
		c.lastErr = err
	}
	return Change{Old: old, New: c.judge.state, Since: now, Err: err}, changed
}

// next returns when to probe again, after a probe that began at start. From the
// start: one that ran into its time limit must not lengthen the time to the
// verdict.
func (c *Checker) next(start time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	interval := c.opts.Interval
	switch {
	case c.judge.doubts():
		interval = c.opts.Fast
	case c.resting:
		interval = max(RestInterval, interval)
	}
	spread := c.opts.Jitter * (2*rand.Float64() - 1)
	at := start.Add(interval + time.Duration(spread*float64(interval)))
	if c.judge.damped(time.Now()) && c.judge.until.Before(at) {
		return c.judge.until // the penalty is long enough by itself
	}
	return at
}

// Rest has the checker leave the regular probes to others, or do them again and
// begin at once. At rest it probes when it is triggered, goes on until it is sure
// of what it sees, and else every RestInterval.
func (c *Checker) Rest(on bool) {
	c.mu.Lock()
	woken := c.resting && !on
	c.resting = on
	c.mu.Unlock()
	if woken {
		c.trigger.ask()
	}
}

// State returns the state now.
func (c *Checker) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.judge.state
}

// Status returns all that is known now.
func (c *Checker) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{State: c.judge.state, Since: c.judge.since, Err: c.lastErr, Probed: c.probed, Resting: c.resting}
	if now := time.Now(); c.judge.damped(now) {
		s.Damped, s.Until = true, c.judge.until
	}
	return s
}

// Stats returns the counters, which go on counting.
func (c *Checker) Stats() *Stats { return &c.stats }
