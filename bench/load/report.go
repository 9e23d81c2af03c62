package load

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxLatency is the longest latency that is told from longer ones: more
	// than any timeout here.
	maxLatency = 10 * time.Minute
	// digits of a latency: 0.1 %, in some 150 KB.
	digits = 3
	// maxKinds bounds the kinds of errors that are counted apart; a target that
	// numbers its refusals makes no end of them.
	maxKinds = 32
)

// A Report is what came of a loop.
type Report struct {
	Done   int // operations that succeeded
	Failed int // those that did not, or could not be started in time
	// Errors counts the failures by kind.
	Errors map[string]int
	// First is the first failure, as it was.
	First error
	// Elapsed is the time from the start of the first operation to the end of the last.
	Elapsed time.Duration
	// Latency holds the operations' latencies in µs. One that failed counts with
	// what it has waited, or a target would look the quicker the more it drops; one
	// that was not started is not in it.
	Latency *hdrhistogram.Histogram
	// Behind is how much later than due the open loop itself started an
	// operation, at worst. It is part of the latencies: if it is not small
	// beside them, the figures say more of this process than of the target.
	Behind time.Duration
}

// Rate is the successful operations per second.
func (r Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Done) / r.Elapsed.Seconds()
}

// Percentile is the latency that p percent (0 to 100) of the operations kept.
func (r Report) Percentile(p float64) time.Duration {
	return time.Duration(r.Latency.ValueAtQuantile(p)) * time.Microsecond
}

// A tally makes a report; any number of goroutines may add to it.
type tally struct {
	mu sync.Mutex
	r  Report
}

func newTally() *tally {
	return &tally{r: Report{
		Errors:  map[string]int{},
		Latency: hdrhistogram.New(1, maxLatency.Microseconds(), digits),
	}}
}

func (t *tally) add(latency time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !errors.Is(err, ErrOverload) {
		// In range, so that it cannot fail.
		_ = t.r.Latency.RecordValue(min(max(latency, time.Microsecond), maxLatency).Microseconds())
	}
	if err == nil {
		t.r.Done++
		return
	}
	t.r.Failed++
	if t.r.First == nil {
		t.r.First = err
	}
	kind := kindOf(err)
	if _, ok := t.r.Errors[kind]; !ok && len(t.r.Errors) >= maxKinds {
		kind = "other"
	}
	t.r.Errors[kind]++
}

func (t *tally) behind(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Behind = max(t.r.Behind, d)
}

// kindOf is an error without what is particular to one connection.
func kindOf(err error) string {
	var (
		errno syscall.Errno
		slow  net.Error
	)
	switch {
	case errors.Is(err, ErrOverload):
		return ErrOverload.Error()
	case errors.Is(err, ErrRefused), errors.Is(err, ErrNegotiated):
		return err.Error()
	case errors.Is(err, ErrAnswer):
		return ErrAnswer.Error()
	case errors.Is(err, ErrStopped):
		return ErrStopped.Error()
	case errors.As(err, &slow) && slow.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by the target"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
