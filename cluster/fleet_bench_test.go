package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// crowd opens a fleet of n nodes of which three vote.
func crowd(t testing.TB, n int, change func(o *FleetOptions)) []*sitter {
	t.Helper()
	secret := NewSecret()
	voters := []string{"edge-01", "edge-02", "edge-03"}
	nodes := make([]*sitter, 0, n)
	var join []string
	for i := range n {
		o := FleetOptions{
			Fleet: "test", Node: fmt.Sprintf("edge-%02d", i+1), Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: voters,
			State: filepath.Join(t.TempDir(), fmt.Sprint(i)), KickDelay: 200 * time.Millisecond,
		}
		if change != nil {
			change(&o)
		}
		s := openNode(t, o, mainPool(place.Shared, 10))
		if len(join) < len(voters) {
			join = append(join, s.f.port.advertise.String())
		}
		nodes = append(nodes, s)
	}
	for _, s := range nodes {
		await(t, s)
	}
	return nodes
}

// BenchmarkFleetPlace is a login's part: a known place, by the only node of a fleet
// and ten back ends, with the hold taken and given back.
func BenchmarkFleetPlace(b *testing.B) {
	s := openNode(b, FleetOptions{State: b.TempDir()}, mainPool(place.Shared, 10))
	await(b, s)
	users := make([]string, 1000)
	for i := range users {
		users[i] = fmt.Sprintf("user%d@example.org", i)
	}
	b.ReportAllocs()
	before := worked(b)
	for i := 0; b.Loop(); i++ {
		_, _, hold, err := s.f.Place(b.Context(), "main", users[i%len(users)])
		if err != nil {
			b.Fatal(err)
		}
		s.f.Release(hold)
	}
	b.ReportMetric(float64(worked(b)-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkViewChange drains a back end under 100,000 live sessions on ten nodes and
// reports how long logins were held at most and when all nodes had the new view.
func BenchmarkViewChange(b *testing.B) {
	const sessions = 100_000
	nodes := crowd(b, 10, nil)
	for i := range sessions {
		nodes[i%len(nodes)].login(b, fmt.Sprintf("user%d", i/2))
	}
	state := []table.Admin{table.Draining, table.Active}
	var took spread
	term := nodes[0].f.raft.CurrentTerm()
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		if err := nodes[0].f.SetAdmin(b.Context(), "main", "store1", state[i%2], "bench"); err != nil {
			b.Fatal(err)
		}
		want := nodes[0].f.epoch("main")
		for _, s := range nodes {
			until(b, "the view", func() bool { return s.f.epoch("main") >= want })
		}
		took = append(took, time.Since(began))
	}
	took.report(b, "change")
	elections(b, nodes[0], term)
}

func (f *Fleet) epoch(pool string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.table.Pools[pool]; p != nil {
		return p.Epoch
	}
	return 0
}

// BenchmarkMove moves a user with 50 sessions on ten nodes. The kick delay is the
// back ends' and is taken off.
func BenchmarkMove(b *testing.B) {
	nodes := crowd(b, 10, nil)
	var total time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		for j := range 50 {
			nodes[j%len(nodes)].login(b, "joe")
		}
		b.StartTimer()
		began := time.Now()
		if err := nodes[i%len(nodes)].f.Move(b.Context(), "main", "joe", fmt.Sprintf("store%d", 1+i%10), "bench"); err != nil {
			b.Fatal(err)
		}
		total += time.Since(began)
	}
	b.ReportMetric(float64(total.Milliseconds())/float64(b.N)-200, "ms/move-less-kick-delay")
}

// Fifty nodes in one process find each other, and all may serve.
func TestFiftyNodes(t *testing.T) {
	if os.Getenv("USHER_LONG") == "" {
		t.Skip("half a minute on two cores: set USHER_LONG")
	}
	began := time.Now()
	nodes := crowd(t, 50, nil)
	t.Logf("50 nodes serve after %v, %d goroutines", time.Since(began), runtime.NumGoroutine())
	at, _ := nodes[0].login(t, "joe")
	for _, s := range nodes {
		if b, _ := s.login(t, "joe"); b != at {
			t.Errorf("%s and %s", b, at)
		}
	}
}

// A storm of logins with names that nobody has writes nothing: what the log gets is
// the leader's grants.
func TestUnknownNamesWriteNothing(t *testing.T) {
	const logins = 20_000
	s := openNode(t, FleetOptions{State: t.TempDir()}, mainPool(place.Shared, 3))
	await(t, s)
	before, began := s.f.Overview(), time.Now()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range logins / 8 {
				_, _, hold, err := s.f.Place(t.Context(), "main", fmt.Sprintf("nobody%d-%d", w, i))
				if err != nil {
					t.Error(err)
					return
				}
				s.f.Release(hold) // the back end has said no
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	after := s.f.Overview()
	t.Logf("%d logins in %v, %d entries", logins, took, after.Applied-before.Applied)
	if most := uint64(took/time.Second) + 2; after.Applied-before.Applied > most {
		t.Errorf("the log grew by %d entries in %v, want no more than %d grants", after.Applied-before.Applied, took, most)
	}
	if after.Stays+after.Pins != 0 {
		t.Errorf("the table grew: %+v", after)
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if users, _ := s.f.node.Load(); len(users) != 0 {
		t.Errorf("records are left: %v", users)
	}
}
