package balancer

import (
	"sync/atomic"
	"time"

	"usher.example/sniff"
)

// loginBounds are the upper bounds of the login histogram, in seconds. A login
// takes a round trip or two to the back end; the upper ones show tries and
// delays after a wrong password.
var loginBounds = [...]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

// A Histogram counts durations in fixed buckets. The zero value works, for any
// number of goroutines.
type Histogram struct {
	buckets [len(loginBounds) + 1]atomic.Uint64
	nanos   atomic.Int64
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(loginBounds) && d.Seconds() > loginBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.nanos.Add(int64(d))
}

// Snapshot returns the counts as Prometheus wants them: cumulative by upper
// bound in seconds, with the total count and the sum in seconds.
func (h *Histogram) Snapshot() (cumulative map[float64]uint64, count uint64, sum float64) {
	cumulative = make(map[float64]uint64, len(loginBounds))
	for i, bound := range loginBounds {
		count += h.buckets[i].Load()
		cumulative[bound] = count
	}
	count += h.buckets[len(loginBounds)].Load()
	return cumulative, count, time.Duration(h.nanos.Load()).Seconds()
}

// mechanisms in the order of ListenerStats.Logins.
var mechanisms = [...]sniff.Mechanism{
	sniff.Command, sniff.Plain, sniff.LoginSASL, sniff.XOAuth2, sniff.OAuthBearer,
	sniff.ScramSHA1, sniff.ScramSHA256, sniff.External,
}

// Mechanisms lists the mechanisms in the order of [ListenerStats.Logins].
func Mechanisms() []sniff.Mechanism { return mechanisms[:] }

func mechanismIndex(m sniff.Mechanism) int {
	for i, known := range mechanisms {
		if m == known {
			return i
		}
	}
	return 0
}

// Verdicts of a login attempt, indices of [ListenerStats.Logins].
const (
	LoginOK     = iota // let in
	LoginFailed        // wrong credentials
	LoginError         // anything else
	verdicts
)

// endCount is the number of forward.Ends, held by a test.
const endCount = 6

// ListenerStats count what happened on a listener, since the start. They
// survive reloads that keep the listener's name and protocol.
type ListenerStats struct {
	Protocol   string                   // by name; fixed when the listener is first seen
	Accepted   atomic.Uint64            // connections
	Open       atomic.Int64             // sessions now, logged in or not
	LoggedIn   atomic.Int64             // of them, forwarded
	Ended      [kindCount]atomic.Uint64 // sessions by Kind; None: they were forwarded
	Ends       [endCount]atomic.Uint64  // forwarded sessions by forward.End
	Logins     [len(mechanisms)][verdicts]atomic.Uint64
	LoginTime  Histogram // accept or previous answer to a successful login's answer
	BytesIn    atomic.Uint64
	BytesOut   atomic.Uint64
	TLSFull    atomic.Uint64 // handshakes
	TLSResumed atomic.Uint64
	TLSFailed  atomic.Uint64
}
