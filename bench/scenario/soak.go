package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/result"
)

// The steady mix of a soak: about a third of what one core carries, so that what
// leaks has time to show and the probe has something to measure.
const (
	soakLogins = 20  // a second, but for the time of a probe
	soakUsers  = 500 // who log in again and again: usher remembers each for a quarter of an hour
	soakNoops  = 200 // a second, over soakRounds sessions
	soakRounds = 4   // sessions
	soakPiece  = 4e6 // octets of a download
	soakPieces = 2   // downloads a second

	soakCompares = time.Minute
	soakSamples  = 3 // at least, however short it is
)

// soak looks for what grows.
func soak(p Params) Course {
	return Course{
		Name: "soak", Repetitions: 1, Weight: p.Soak + 5*time.Second, Only: "usher", Named: true,
		Parts: []Part{{
			Name: "soak", Doc: fmt.Sprintf("a steady mix for %s: its last minute against its first", p.Soak),
			Needs: []string{"imap tls"}, Takes: p.Soak, Run: longSoak,
		}},
	}
}

// A track is one figure over the time of a soak.
type track struct {
	name, unit, better string
	at, values         []float64 // seconds, and what it was then
}

// A marathon is a soak that runs.
type marathon struct {
	r      *Round
	tracks []*track
	at     []float64 // seconds of each sample

	pause  sync.RWMutex // locked while the mix pauses
	mu     sync.Mutex
	logins []time.Duration // since the last sample
	faults []error         // that ended a part of the mix
	failed int             // logins
}

func longSoak(ctx context.Context, r *Round) error {
	if r.bare() {
		return errSkip
	}
	m := &marathon{r: r}
	s := r.service("imap", "tls", nil)
	sessions, err := r.enterMany(ctx, s, r.Params.SoakIdle+soakRounds+2)
	defer func() { closeAll(sessions) }()
	if err != nil {
		return err
	}
	for _, c := range sessions[:r.Params.SoakIdle] {
		if err := c.Idle(); err != nil {
			return err
		}
	}
	busy := sessions[r.Params.SoakIdle:]
	straight, err := enter(ctx, load.Service{Protocol: "imap", Security: "plain", Addr: r.Site.SinkIMAP}, r.Params.SoakIdle+soakRounds+1)
	if err != nil {
		return fmt.Errorf("log in at the back end: %w", err)
	}
	defer straight.Close()
	mixing, stop := context.WithCancel(ctx)
	defer stop()
	var mix sync.WaitGroup
	defer mix.Wait()
	mix.Go(func() {
		_ = m.steady(mixing, soakLogins, func(ctx context.Context, i int) error { return m.login(ctx, s, i) })
	}) // counts its own failures
	var turn [soakRounds]sync.Mutex
	mix.Go(func() {
		m.must(m.steady(mixing, soakNoops, func(_ context.Context, i int) error {
			i %= soakRounds
			turn[i].Lock()
			defer turn[i].Unlock()
			return busy[i].Noop()
		}))
	})
	var piece sync.Mutex
	mix.Go(func() {
		m.must(m.steady(mixing, soakPieces, func(context.Context, int) error {
			piece.Lock()
			defer piece.Unlock()
			return busy[soakRounds].Download(soakPiece)
		}))
	})
	err = m.sample(ctx, probe{target: busy[soakRounds+1], stub: straight})
	stop()
	mix.Wait()
	if err := errors.Join(append(m.faults, err, ctx.Err())...); err != nil {
		return err
	}
	return m.report()
}

// steady runs op at a rate until the context ends.
func (m *marathon) steady(ctx context.Context, rate float64, op func(ctx context.Context, i int) error) error {
	const ever = 1 << 40
	op = m.unpaused(op)
	return load.Open(ctx, rate, ever, func(_ context.Context, i int) error { return op(m.r.life, i) }).First
}

// must keeps what ended a part of the mix that is never to fail.
func (m *marathon) must(err error) {
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.faults = append(m.faults, err)
	}
}

func (m *marathon) login(ctx context.Context, s load.Service, i int) error {
	began := time.Now()
	_, err := visit(ctx, s, m.r.Params.SoakIdle+soakRounds+2+i%soakUsers) // none who has a session already
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.failed++
	} else {
		m.logins = append(m.logins, time.Since(began))
	}
	return err
}

// sample takes all figures, each time that the mix has run for SoakEvery.
func (m *marathon) sample(ctx context.Context, speed probe) error {
	p := m.r.Params
	began := time.Now()
	mixed := time.NewTimer(p.SoakEvery)
	defer mixed.Stop()
	before, was, err := m.r.cpuNow()
	if err != nil {
		return err
	}
	for time.Since(began) < p.Soak || len(m.at) < soakSamples {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-mixed.C:
		}
		used, now, err := m.r.cpuNow()
		if err != nil {
			return err
		}
		share := (used - before).Seconds() * 1000 / now.Sub(was).Seconds()
		f, err := measure(m.r.Target.Group)
		if err != nil {
			return err
		}
		m.at = append(m.at, time.Since(began).Seconds())
		if err := m.probe(speed); err != nil {
			return err
		}
		mixed.Reset(p.SoakEvery)                         // however long the probe took
		if before, was, err = m.r.cpuNow(); err != nil { // what the probe used is not the mix's
			return err
		}
		m.track("pss_mib", "MiB", result.Lower, float64(f.memory.PSS)/(1<<20))
		m.track("private_mib", "MiB", result.Lower, float64(f.memory.Private)/(1<<20))
		if f.kernel >= 0 {
			m.track("kernel_mib", "MiB", result.Lower, float64(f.kernel)/(1<<20))
		}
		m.track("files", "", result.Lower, float64(f.files))
		m.track("threads", "", result.Lower, float64(f.threads))
		m.track("cpu_ms_per_s", "ms/s", result.Lower, share)
		if median, ok := m.median(); ok {
			m.track("login_p50_ms", "ms", result.Lower, median)
		}
		m.r.say(fmt.Sprintf("%s of %s", time.Since(began).Round(time.Second), p.Soak))
	}
	return nil
}

// cpuNow is what the target has used, and when.
func (r *Round) cpuNow() (time.Duration, time.Time, error) {
	used, _, err := r.cpu()
	return used, time.Now(), err
}

// median of the logins since it was last asked, in ms; false of none.
func (m *marathon) median() (float64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.logins) == 0 {
		return 0, false
	}
	slices.Sort(m.logins)
	d := quantile(m.logins, 0.5)
	m.logins = m.logins[:0]
	return milliseconds(d), true
}

func (m *marathon) track(name, unit, better string, value float64) {
	i := slices.IndexFunc(m.tracks, func(t *track) bool { return t.name == name })
	if i < 0 {
		m.tracks = append(m.tracks, &track{name: name, unit: unit, better: better})
		i = len(m.tracks) - 1
	}
	t := m.tracks[i]
	t.at, t.values = append(t.at, m.at[len(m.at)-1]), append(t.values, value)
}

// report compares the end with the beginning: medians of a minute each, or of a
// third of all where that is less.
func (m *marathon) report() error {
	window := min(soakCompares.Seconds(), m.r.Params.Soak.Seconds()/3)
	end := m.at[len(m.at)-1]
	for _, t := range m.tracks {
		var first, last []float64
		for i, at := range t.at {
			if at <= max(window, t.at[0]) {
				first = append(first, t.values[i])
			}
			if at >= min(end-window, t.at[len(t.at)-1]) {
				last = append(last, t.values[i])
			}
		}
		was, is := middle(first), middle(last)
		m.r.put(t.name, t.unit, t.better, is)
		if was != 0 {
			m.r.put(t.name+"_ratio", "×", t.better, is/was)
		}
		m.r.plot(t.name, t.unit, t.at, t.values)
	}
	m.r.put("failed", "", result.Lower, float64(m.failed))
	return nil
}

// middle is the median of values, which it sorts.
func middle(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
