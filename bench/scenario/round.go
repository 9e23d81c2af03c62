package scenario

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"usher.example/bench/gauge"
	"usher.example/bench/load"
	"usher.example/bench/peers"
	"usher.example/bench/result"
)

// errSkip ends a part that a target cannot be asked for: no fault.
var errSkip = errors.New("not for this target")

// password is every user's; the stub back end lets in any.
const password = "a-password-of-usual-length"

// A Round is one target in one repetition of a course. Its parts use it one after
// the other; within a part, only what says so is safe for several goroutines.
type Round struct {
	Params     Params
	Peer       peers.Peer
	Target     *peers.Target // nil where the course starts its own
	Site       peers.Site
	Stub       Stub
	Roots      *x509.CertPool // hold the certificate that every target shows
	ServerName string         // of that certificate
	Repetition int

	life     context.Context   // of the target: what parts share lives as long
	now      func(text string) // tells the progress what is being done
	scenario string            // the part that runs
	samples  []result.Sample
	series   []result.Series
	settings map[string]string
	spent    time.Duration         // CPU of targets that have ended
	ended    map[*gauge.Group]bool // whose CPU is in spent
	aside    time.Duration         // CPU of the target's helper in what was last metered; negative: none

	held   *held      // idle sessions that parts of a course share
	nobody *footprint // of the target before them, once it is known
}

// A Stub is the back end that all targets show their clients to.
type Stub interface {
	// Pin lets it run on the given processors only.
	Pin(cpus ...int) error
	// CPU is what it has used so far.
	CPU() (time.Duration, error)
}

// put hands in one figure of the part that runs.
func (r *Round) put(metric, unit, better string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return // nothing was counted: the part's own error says why
	}
	r.samples = append(r.samples, result.Sample{
		Scenario: r.scenario, Target: r.Peer.Name, Metric: metric, Unit: unit, Better: better,
		Repetition: r.Repetition, Value: value,
	})
}

// plot hands in how something changed in the course of the part.
func (r *Round) plot(name, unit string, x, y []float64) {
	r.series = append(r.series, result.Series{
		Scenario: r.scenario, Target: r.Peer.Name, Name: name, Unit: unit,
		Repetition: r.Repetition, X: x, Y: y,
	})
}

// say tells who waits what is being done.
func (r *Round) say(text string) {
	if r.now != nil {
		r.now(text)
	}
}

// set records what a reader has to know of how the part was run. The name is made
// of words with dots in between.
func (r *Round) set(name, value string) { r.settings[name] = value }

// service is one of the target's. The cache may be nil for a client that takes
// tickets and never uses one.
func (r *Round) service(protocol, security string, cache tls.ClientSessionCache) load.Service {
	return r.serviceOf(r.Target, protocol, security, cache)
}

func (r *Round) serviceOf(t *peers.Target, protocol, security string, cache tls.ClientSessionCache) load.Service {
	s := load.Service{Protocol: protocol, Security: security, Addr: t.Addr(protocol, security)}
	if security != "plain" {
		s.TLS = load.TLSConfig(r.Roots, r.ServerName, r.Peer.Curve, cache)
	}
	return s
}

// user is the name of the i-th user.
func user(i int) string { return "user" + strconv.Itoa(i) + "@example.org" }

// enter dials and logs in; the caller closes what it gets. It ends with the
// context, whenever that does.
func enter(ctx context.Context, s load.Service, i int) (*load.Client, error) {
	c, err := s.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.Login(user(i), password); err != nil {
		c.Close()
		return nil, fmt.Errorf("log in: %w", err)
	}
	return c, nil
}

// visit is a whole session that does nothing: dial, handshake, greeting, login,
// logout, close. Its latency is that of the login.
func visit(ctx context.Context, s load.Service, i int) (tls.ConnectionState, error) {
	c, err := enter(ctx, s, i)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	load.Mark(ctx)
	state := c.State()
	if err := c.Logout(); err != nil {
		return state, fmt.Errorf("log out: %w", err)
	}
	return state, nil
}

// bare reports whether the target never had a process of its own, since clients go
// straight to the stub: it has no cost to count. One whose process has died is not.
func (r *Round) bare() bool {
	return r.Target == nil || r.Target.Group == nil || !r.Target.Group.Started()
}

// cpu is what the target has used so far, its helpers left out. ok is false where
// it is bare.
func (r *Round) cpu() (used time.Duration, ok bool, err error) {
	if r.bare() {
		return 0, false, nil
	}
	used, err = r.Target.Group.CPU()
	return used, err == nil, err
}

// metered runs work and hands back what CPU the target used for it, and how long
// it took. The CPU is negative where there is no target. A target that has died
// meanwhile did not do the work: that is an error.
func (r *Round) metered(work func() error) (used, elapsed time.Duration, err error) {
	before, ok, err := r.cpu()
	helper, unknown := r.asideCPU()
	if err := errors.Join(err, unknown); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	err = work()
	elapsed = time.Since(began)
	if r.aside = -1; !ok {
		return -1, elapsed, err
	}
	after, _, counted := r.cpu()
	if helper >= 0 {
		var used time.Duration
		used, unknown = r.asideCPU()
		r.aside = used - helper
	}
	return after - before, elapsed, errors.Join(err, counted, unknown, r.alive())
}

// putBehind hands in how late the load itself has begun what was due, at worst, in ms:
// by so much latencies are its own.
func (r *Round) putBehind(metric string, d time.Duration) {
	r.put(metric, "ms", result.Lower, milliseconds(d))
}

// putAside hands in what the helper of a target used in the last that was metered, if
// it has one, for each of n.
func (r *Round) putAside(metric, unit string, n float64) {
	if r.aside >= 0 {
		r.put(metric, unit, result.Lower, float64(r.aside.Nanoseconds())/n)
	}
}

// asideCPU is what the helper of a target has used; negative where it has none.
func (r *Round) asideCPU() (time.Duration, error) {
	if r.Target == nil || r.Target.Aside == nil {
		return -1, nil
	}
	return r.Target.Aside.CPU()
}

// putLatency hands in the median and the tail of a report, in ms.
func (r *Round) putLatency(rep load.Report) {
	r.put("p50_ms", "ms", result.Lower, milliseconds(rep.Percentile(50)))
	r.put("p99_ms", "ms", result.Lower, milliseconds(rep.Percentile(99)))
}

// mostFailed is the share of operations that may fail where figures still are of
// what was to be measured: work that was not done costs nothing, and to refuse is quick.
const mostFailed = 0.01

// tooMany reports whether so many have failed that the rest says nothing.
func tooMany(failed, done int) bool {
	return float64(failed) > mostFailed*float64(failed+done)
}

// judge hands in how many have failed, and makes it an error when they are too many:
// then the part ends with it, and the target has no other figure in it that could be
// taken for the best.
func (r *Round) judge(rep load.Report) error {
	if rep.Done == 0 && rep.First == nil {
		return errors.New("nothing was done in the time there was")
	}
	if rep.Done > 0 {
		r.put("failed", "", result.Lower, float64(rep.Failed))
	}
	if tooMany(rep.Failed, rep.Done) {
		return fmt.Errorf("%d of %d failed, the first: %w", rep.Failed, rep.Failed+rep.Done, rep.First)
	}
	return nil
}

// microseconds of CPU for each of n; not a number where there was no target.
func each(used time.Duration, n int) float64 {
	if used < 0 || n == 0 {
		return math.NaN()
	}
	return float64(used.Nanoseconds()) / 1000 / float64(n)
}

// memory of a group, with how many files and threads it has.
type footprint struct {
	memory         gauge.Memory
	kernel         int64 // negative where nobody counts it
	files, threads int
}

func measure(g *gauge.Group) (footprint, error) {
	f := footprint{kernel: -1}
	var errs [4]error
	f.memory, errs[0] = g.Memory()
	f.files, errs[1] = g.Files()
	f.threads, errs[2] = g.Threads()
	kernel, err := g.Kernel()
	switch {
	case err == nil:
		f.kernel = kernel
	case !errors.Is(err, gauge.ErrUnknown):
		errs[3] = err
	}
	return f, errors.Join(errs[:]...)
}
