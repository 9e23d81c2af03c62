package health

import (
	"context"
	"time"
)

// A trigger lets real connections ask for a probe.
type trigger struct {
	asked chan struct{} // holds one request, which stands for all
	ended time.Time     // of the last probe; only the goroutine in Run uses it
}

func newTrigger() trigger { return trigger{asked: make(chan struct{}, 1)} }

// Trigger asks for a probe now rather than at the next interval. Whoever dials
// the back end for a user calls it when the dial fails. A failed dial is a
// reason to look, not a verdict: it may have been our own fault, or refused for
// that user's sake. It never blocks. All requests that come before the probe
// begins are that one probe; those that come while it is under way are one
// more, for it may have looked before things went wrong.
func (c *Checker) Trigger() {
	c.stats.Triggers.Add(1)
	c.trigger.ask()
}

// ask never blocks: one request stands for all.
func (t *trigger) ask() {
	select {
	case t.asked <- struct{}{}:
	default:
	}
}

// pause waits until a triggered probe may start, and says whether it may: not
// after the end of the context.
func (t *trigger) pause(ctx context.Context, gap time.Duration) bool {
	wait := gap - time.Since(t.ended)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
