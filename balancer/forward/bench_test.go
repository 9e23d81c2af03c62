package forward

import (
	"slices"
	"testing"
	"time"
)

// The figures of this file are CPU time of this process, which is the engine
// alone: both peers are a child process. Compare them within one run only.
//
// On the loopback the kernel charges work of TCP to whom it finds running: who
// sends pays for the receiver's side of it, and who reads for sending what waited
// for his window. Hence a ratio that counts the peers, too.

// benchJobs are what engines are compared by.
var benchJobs = []struct {
	name string
	job  job
}{
	{"tls-down-1", job{TLS: true, Pairs: 1, Bytes: 1 << 30}},
	{"tls-up-1", job{TLS: true, Up: true, Pairs: 1, Bytes: 1 << 30}},
	{"tls-down-8", job{TLS: true, Pairs: 8, Bytes: 1 << 30}},
	{"tls-up-8", job{TLS: true, Up: true, Pairs: 8, Bytes: 1 << 30}},
	{"plain-down-1", job{Pairs: 1, Bytes: 2 << 30}},
	{"plain-up-1", job{Up: true, Pairs: 1, Bytes: 2 << 30}},
	{"plain-down-8", job{Pairs: 8, Bytes: 2 << 30}},
	{"plain-up-8", job{Up: true, Pairs: 8, Bytes: 2 << 30}},
	{"tls-ping-1", job{TLS: true, Ping: true, Pairs: 1, Bytes: 20_000}},
	{"plain-ping-1", job{Ping: true, Pairs: 1, Bytes: 20_000}},
	{"tls-ping-20", job{TLS: true, Ping: true, Pairs: 20, Bytes: 40_000}},
	{"plain-ping-20", job{Ping: true, Pairs: 20, Bytes: 40_000}},
}

// per is what one unit of a job costs: a GiB in CPU seconds, or a round trip in
// CPU microseconds.
func (j job) per(cpu time.Duration) (float64, string) {
	if j.Ping {
		return float64(cpu.Nanoseconds()) / 1e3 / float64(j.Bytes), "cpu-µs/trip"
	}
	return cpu.Seconds() * float64(1<<30) / float64(j.Bytes), "cpu-s/GiB"
}

func BenchmarkEngines(b *testing.B) {
	for _, j := range benchJobs {
		for _, engine := range []string{"copy", "loop"} {
			b.Run(j.name+"/"+engine, func(b *testing.B) {
				e, r := benchEngine(b, engine), newBench(b)
				spent := time.Duration(0)
				for b.Loop() {
					spent += r.run(e, j.job).cpu
				}
				b.ReportMetric(j.job.per(spent / time.Duration(b.N)))
			})
		}
	}
}

// rounds is how often engines take turns in one iteration: machines are noisy,
// so that only neighbours can be compared, and only medians of several.
const rounds = 5

// BenchmarkRatio runs the engines round by round and reports the medians and
// what the loops cost of the copy's cost. One iteration is enough.
func BenchmarkRatio(b *testing.B) {
	for _, j := range benchJobs {
		b.Run(j.name, func(b *testing.B) {
			engines := []Engine{benchEngine(b, "copy"), benchEngine(b, "loop")}
			r := newBench(b)
			var cost [2][]float64
			var ratio, both []float64
			unit := ""
			for b.Loop() {
				for range rounds {
					var own, all [2]float64
					for i, e := range engines {
						c := r.run(e, j.job)
						own[i], unit = j.job.per(c.cpu)
						all[i], _ = j.job.per(c.cpu + c.peers)
						cost[i] = append(cost[i], own[i])
					}
					ratio = append(ratio, own[1]/own[0])
					both = append(both, all[1]/all[0])
				}
			}
			b.ReportMetric(0, "ns/op") // wall time is the peers' as well
			b.ReportMetric(median(cost[0]), "copy-"+unit)
			b.ReportMetric(median(cost[1]), "loop-"+unit)
			b.ReportMetric(median(ratio), "loop/copy")
			b.ReportMetric(median(both), "with-peers-loop/copy")
		})
	}
}

// BenchmarkBeside measures round trips of interactive sessions beside a bulk
// one, engines round by round: the median of the rounds' medians and of their
// 99th percentiles.
func BenchmarkBeside(b *testing.B) {
	const typists, trips = 5, 500
	for _, j := range []struct {
		name string
		job  job
	}{
		{"tls-down", job{TLS: true}},
		{"tls-up", job{TLS: true, Up: true}},
		{"plain-down", job{}},
		{"plain-up", job{Up: true}},
	} {
		j.job.Beside, j.job.Pairs, j.job.Bytes = true, typists+1, trips
		b.Run(j.name, func(b *testing.B) {
			names := []string{"copy", "loop", "loops"}
			engines := make([]Engine, len(names))
			for i, name := range names {
				engines[i] = benchEngine(b, name)
			}
			r := newBench(b)
			p50, p99 := make([][]float64, len(names)), make([][]float64, len(names))
			for b.Loop() {
				for range rounds {
					for i, e := range engines {
						c := r.run(e, j.job)
						p50[i] = append(p50[i], c.p50.Seconds()*1e3)
						p99[i] = append(p99[i], c.p99.Seconds()*1e3)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, name := range names {
				b.ReportMetric(median(p50[i]), name+"-p50-ms")
				b.ReportMetric(median(p99[i]), name+"-p99-ms")
			}
		})
	}
}

func median(of []float64) float64 {
	of = slices.Clone(of)
	slices.Sort(of)
	return of[len(of)/2]
}
