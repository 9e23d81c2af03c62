package admin

import (
	"time"

	"usher.example/balancer"
)

// endCount is how many ends of a forwarded session are counted.
const endCount = len(balancer.ListenerStats{}.Ends)

// protoSums are sums over the listeners of one protocol.
type protoSums struct {
	in, out uint64
	logins  [][]uint64 // by mechanism and verdict
	time    snapshot
}

func newProtoSums() *protoSums {
	p := &protoSums{logins: make([][]uint64, len(mechanisms))}
	for i := range p.logins {
		p.logins[i] = make([]uint64, len(verdicts))
	}
	return p
}

func (p *protoSums) add(st *balancer.ListenerStats) {
	p.in += st.BytesIn.Load()
	p.out += st.BytesOut.Load()
	for i := range st.Logins {
		for j := range st.Logins[i] {
			p.logins[i][j] += st.Logins[i][j].Load()
		}
	}
	p.time.add(&st.LoginTime)
}

func (p *protoSums) collect(e emitter, proto string) {
	e.counter(moved, p.in, "in", proto)
	e.counter(moved, p.out, "out", proto)
	for i, verdictCounts := range p.logins {
		for j, n := range verdictCounts {
			e.counter(logins, n, proto, mechanisms[i], verdicts[j])
		}
	}
	e.histogram(loginTime, &p.time, proto)
}

// A snapshot is the sum of histograms. The zero value is empty.
type snapshot struct {
	cumulative map[float64]uint64
	count      uint64
	sum        float64
}

func (s *snapshot) add(h *balancer.Histogram) {
	cumulative, count, sum := h.Snapshot()
	if s.cumulative == nil {
		s.cumulative = make(map[float64]uint64, len(cumulative))
	}
	for bound, n := range cumulative {
		s.cumulative[bound] += n
	}
	s.count += count
	s.sum += sum
}

// collect shows one back end.
func (st *BackendStatus) collect(e emitter, pool string) {
	name := []string{pool, st.Name}
	e.gauge(backendUp, truth(st.Up), name...)
	for _, state := range states {
		e.gauge(backendState, truth(st.State == state), pool, st.Name, state)
	}
	e.gauge(backendWeight, float64(st.Weight), name...)
	e.gauge(backendUsers, float64(st.Users), name...)
	if st.counts != nil {
		e.gauge(backendSessions, float64(st.counts.Live), name...)
		e.counter(backendDials, st.counts.Dials, name...)
		e.counter(backendFailures, st.counts.Failures, name...)
		var dials snapshot
		dials.add(st.counts.DialTime)
		e.histogram(backendDialTime, &dials, name...)
	}
	if st.checker != nil && st.checker.Stats != nil {
		stats := st.checker.Stats
		e.counter(backendChecks, stats.Probes.Load(), name...)
		e.counter(checkFailures, stats.Failed.Load(), name...)
		e.gauge(backendCheckTime, time.Duration(stats.LastNanos.Load()).Seconds(), name...)
		e.counter(backendTransitions, stats.Rises.Load(), pool, st.Name, "up")
		e.counter(backendTransitions, stats.Falls.Load(), pool, st.Name, "down")
	}
}
