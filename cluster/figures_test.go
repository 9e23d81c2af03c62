package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/cluster/place"
)

// spread are times of one thing, of which median and worst are told.
type spread []time.Duration

func (s spread) report(b *testing.B, what string) {
	if len(s) == 0 {
		return
	}
	slices.Sort(s)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(s[len(s)/2]), what+"-median-ms")
	b.ReportMetric(ms(s[len(s)-1]), what+"-worst-ms")
}

// elections counts those since a term. On a machine that has too much to do leaders
// are lost, and what was waited for waits for the next one: such a run tells nothing.
func elections(b *testing.B, s *sitter, since uint64) {
	b.ReportMetric(float64(s.f.raft.CurrentTerm()-since), "elections")
}

// worked is what this process has had of the processors. On a busy machine it tells
// more of a short thing than the clock does.
func worked(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A known place is told without asking anybody and without writing: it goes on when
// nobody is left to be asked, for as long as the lease lasts.
func TestKnownPlaceAsksNobody(t *testing.T) {
	secret := NewSecret()
	voters := []string{"edge-1", "edge-2", "edge-3"}
	var nodes []*sitter
	var join []string
	for _, name := range voters {
		s, end := startNode(t, FleetOptions{
			Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: voters,
			State: filepath.Join(t.TempDir(), name), Strict: true,
		}, mainPool(place.Shared, 3))
		if name == "edge-3" {
			t.Cleanup(end)
		}
		join = append(join, s.f.port.advertise.String())
		nodes = append(nodes, s)
	}
	for _, s := range nodes {
		await(t, s)
	}
	last := nodes[2].f
	user := "joe"
	at, _ := nodes[0].login(t, user)
	nodes[0].f.Abandon()
	nodes[1].f.Abandon()
	const onTheWay = 300 * time.Millisecond // more than what the dead have said takes
	written, since := last.raft.LastIndex(), time.Now()
	until(t, "what the others had said to be here", func() bool {
		if now := last.raft.LastIndex(); now != written {
			written, since = now, time.Now()
		}
		return time.Since(since) > onTheWay
	})
	said := len(last.outbox)
	for logins := range 1000 {
		b, _, hold, err := last.Place(t.Context(), "main", user)
		if err != nil || b != at {
			t.Fatalf("%s, %v; want %s", b, err, at)
		}
		if err := last.Still(hold); err != nil {
			t.Fatalf("strict, and no lease after %d logins: %v", logins, err)
		}
		last.Refused(hold)
		last.Release(hold)
	}
	if now := last.raft.LastIndex(); now != written || len(last.outbox) != said {
		t.Errorf("the log grew from %d to %d, and %d commands wait", written, now, len(last.outbox)-said)
	}
}

// BenchmarkJoin is a fourth node's way into a fleet of three, from its start to the
// moment at which it may serve. Asked are 3 s.
func BenchmarkJoin(b *testing.B) {
	nodes := crowd(b, 3, nil)
	var took spread
	for i := 0; b.Loop(); i++ {
		o := nodes[0].f.o
		o.Node, o.Join, o.State = fmt.Sprintf("new-%02d", i), []string{nodes[0].f.port.advertise.String()}, b.TempDir()
		began := time.Now()
		s, end := startNode(b, o, mainPool(place.Shared, 10))
		await(b, s)
		took = append(took, time.Since(began))
		b.StopTimer()
		s.f.Leave()
		end()
		until(b, "the node to be gone", func() bool { return nodes[0].f.Forget(o.Node) == nil })
		b.StartTimer()
	}
	took.report(b, "join")
}

// BenchmarkRest is what a fleet says when nothing happens, in ten seconds for each
// round: payload of TCP and UDP at the fleet ports. Asked is 1 KB/s for a pair.
func BenchmarkRest(b *testing.B) {
	const rest = 10 * time.Second
	for _, n := range []int{3, 10} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			nodes := crowd(b, n, nil)
			sum := func() (octets uint64) {
				for _, s := range nodes {
					_, out := s.f.Octets()
					octets += out
				}
				return octets
			}
			var octets uint64
			var seconds float64
			for b.Loop() {
				before, began := sum(), time.Now()
				<-time.After(rest)
				octets, seconds = octets+sum()-before, seconds+time.Since(began).Seconds()
			}
			rate := float64(octets) / seconds
			b.ReportMetric(rate/float64(n*(n-1)/2), "B/s/pair")
			b.ReportMetric(rate/float64(n), "B/s/node")
		})
	}
}
