package scenario

import (
	"context"
	"math"
	"time"

	"usher.example/bench/gauge"
)

// settle waits until the memory of a group has been within SettleWithin for
// SettleFor, but not longer than SettleLimit, and hands in what it is then. It is
// the same rule for all: for those who give memory back some seconds later, and
// for those who never do.
func (r *Round) settle(ctx context.Context, g *gauge.Group) (footprint, error) {
	p := r.Params
	r.say("waiting for memory to settle")
	began := time.Now()
	since, low, high := began, int64(math.MaxInt64), int64(0)
	tick := time.NewTicker(p.SettlePoll)
	defer tick.Stop()
	for {
		m, err := g.Memory()
		if err != nil {
			return footprint{}, err
		}
		low, high = min(low, m.PSS), max(high, m.PSS)
		if float64(high-low) > p.SettleWithin*float64(high) {
			since, low, high = time.Now(), m.PSS, m.PSS
		}
		if time.Since(since) >= p.SettleFor || time.Since(began) >= p.SettleLimit {
			return measure(g)
		}
		select {
		case <-ctx.Done():
			return footprint{}, ctx.Err()
		case <-tick.C:
		}
	}
}
