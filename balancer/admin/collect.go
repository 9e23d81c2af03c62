package admin

import (
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"usher.example/balancer"
)

const (
	// maxScrapes at one time: Prometheus, its twin, and people who look.
	maxScrapes = 4
	// scrapeTime ends one that hangs; Prometheus' own default is 10 s.
	scrapeTime = 10 * time.Second
)

func (s *Server) newMetrics() http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(
		&collector{s: s},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	h := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTime,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "metrics can only be read: use GET", http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// A collector reads the counts of a node when Prometheus asks.
type collector struct {
	s *Server
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range allMetrics() {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	e := emitter{out}
	c.process(e)
	c.node(e)
	c.listeners(e)
	c.certificates(e)
	c.placement(e)
	c.s.o.Gate.collect(e)
	c.guard(e)
	for _, p := range c.s.pools() {
		e.gauge(poolUsable, float64(p.Usable), p.Name)
		for _, b := range p.Backends {
			b.collect(e, p.Name)
		}
	}
}

func (c *collector) process(e emitter) {
	o := c.s.o
	e.gauge(buildInfo, 1, o.Version, revision(), runtime.Version())
	e.gauge(ready, truth(len(o.Reasons()) == 0))
	e.gauge(degraded, truth(len(o.Degraded()) > 0))
	e.gauge(drain, truth(o.Draining()))
	config := o.Reloads.Status()
	good, bad := o.Reloads.counts()
	e.gauge(reloadOK, truth(config.Successful))
	if !config.Loaded.IsZero() {
		e.gauge(reloadTime, float64(config.Loaded.UnixMilli())/1000)
	}
	e.counter(reloads, good, "ok")
	e.counter(reloads, bad, "failed")
	e.counter(spliced, o.Spliced())
	for _, path := range paths {
		e.counter(established, o.Adopted(path), path)
	}
	fell := o.Fallbacks()
	for _, reason := range Fallbacks {
		e.counter(fallbacks, fell[reason], reason)
	}
}

func (c *collector) placement(e emitter) {
	st := c.s.o.Places.Stats()
	e.counter(placements, st.Stays.Load(), "stay")
	e.counter(placements, st.Pins.Load(), "pin")
	e.counter(placements, st.Homes.Load(), "home")
	e.counter(placements, st.Refused.Load(), "refused")
	e.counter(placements, st.Expired.Load(), "expired")
	e.counter(moves, st.Moves.Load())
	var in, out uint64 // none without a fleet
	if f := c.s.o.Fleet; f != nil {
		in, out = f.Octets()
	}
	e.counter(fleetBytes, in, "in")
	e.counter(fleetBytes, out, "out")
}

// listeners shows what is counted by listener, and the sums over them.
func (c *collector) listeners(e emitter) {
	sums := make(map[string]*protoSums)
	var closed [endCount]uint64
	var full, resumed, failed uint64
	for name, st := range c.s.o.Node.Stats() {
		proto := st.Protocol
		e.counter(accepts, st.Accepted.Load(), name, proto)
		established := st.LoggedIn.Load()
		e.gauge(current, float64(max(st.Open.Load()-established, 0)), name, proto, "login")
		e.gauge(current, float64(established), name, proto, "forward")
		for _, k := range balancer.Kinds() {
			e.counter(sessions, st.Ended[k].Load(), name, proto, k.String())
		}
		for i := range closed {
			closed[i] += st.Ends[i].Load()
		}
		full, resumed, failed = full+st.TLSFull.Load(), resumed+st.TLSResumed.Load(), failed+st.TLSFailed.Load()
		if sums[proto] == nil {
			sums[proto] = newProtoSums()
		}
		sums[proto].add(st)
	}
	for i, n := range closed {
		e.counter(sessionEnds, n, ends[i])
	}
	e.counter(handshakes, full, "full")
	e.counter(handshakes, resumed, "resumed")
	e.counter(handshakes, failed, "failed")
	for proto, sum := range sums {
		sum.collect(e, proto)
	}
}

// revision is what the binary was built from.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// An emitter sends metrics to Prometheus.
type emitter struct{ out chan<- prometheus.Metric }

func (e emitter) counter(m *metric, n uint64, labels ...string) {
	e.constant(m, prometheus.CounterValue, float64(n), labels)
}

func (e emitter) gauge(m *metric, v float64, labels ...string) {
	e.constant(m, prometheus.GaugeValue, v, labels)
}

func (e emitter) constant(m *metric, t prometheus.ValueType, v float64, labels []string) {
	c, err := prometheus.NewConstMetric(m.desc, t, v, labels...)
	e.send(m, c, err)
}

func (e emitter) histogram(m *metric, h *snapshot, labels ...string) {
	c, err := prometheus.NewConstHistogram(m.desc, h.count, h.sum, h.cumulative, labels...)
	e.send(m, c, err)
}

// send passes a fault on, such as a name that is not UTF-8: it is then logged,
// and the other metrics are shown all the same.
func (e emitter) send(m *metric, c prometheus.Metric, err error) {
	if err != nil {
		c = prometheus.NewInvalidMetric(m.desc, err)
	}
	e.out <- c
}
