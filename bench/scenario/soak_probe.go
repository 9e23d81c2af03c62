package scenario

import (
	"context"
	"fmt"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/result"
)

// soakProbes is how many downloads are made for the throughput of one sample, through the
// target and at the back end itself in turns. One alone is right within a fifth only, as
// client, target and back end share the processors; a minute's within a few hundredths, where the
// machine holds its own speed as well. Whether it did, the back end's figure says.
const soakProbes = 12

// A probe finds out how much a soak's target moves, and what the machine would without it.
type probe struct {
	target, stub *load.Client
}

// measure returns the medians of both, in MB/s.
func (p probe) measure(octets int64) (target, stub float64, err error) {
	var through, without []float64
	for range soakProbes {
		for _, way := range []struct {
			name string
			c    *load.Client
			to   *[]float64
		}{{"target", p.target, &through}, {"back end", p.stub, &without}} {
			start := time.Now()
			if err := way.c.Download(octets); err != nil {
				return 0, 0, fmt.Errorf("the probe of the %s: %w", way.name, err)
			}
			*way.to = append(*way.to, float64(octets)/1e6/time.Since(start).Seconds())
		}
	}
	return middle(through), middle(without), nil
}

// probe measures the throughput while the mix pauses: how much of the processors that takes
// at a particular moment is chance.
func (m *marathon) probe(p probe) error {
	m.pause.Lock() // waits for what is under way
	defer m.pause.Unlock()
	target, stub, err := p.measure(m.r.Params.SoakProbe)
	if err != nil {
		return err
	}
	m.track("mb_per_s", "MB/s", result.Higher, target)
	m.track("direct_mb_per_s", "MB/s", result.Higher, stub)
	return nil
}

// unpaused does op unless the mix pauses. What would have begun then is left out: caught
// up with, it would be a rush.
func (m *marathon) unpaused(op func(ctx context.Context, i int) error) func(ctx context.Context, i int) error {
	return func(ctx context.Context, i int) error {
		if !m.pause.TryRLock() {
			return nil
		}
		defer m.pause.RUnlock()
		return op(ctx, i)
	}
}
