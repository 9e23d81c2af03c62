package cluster

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/cluster/place"
)

const (
	// stormRate is logins a second, over all nodes.
	stormRate = 10_000
	// stormBeat is the time between two handfuls of logins.
	stormBeat = 2 * time.Millisecond
	// stormLive is how many sessions of a node are open at a time.
	stormLive = 3000
	// stormSample is how many new users are placed to see whether they follow the
	// weights: so many that the share of one back end in thirteen is drawn within 5 %
	// by five standard deviations.
	stormSample = 120_000
	// stormShare is by how much shares may differ from the weights.
	stormShare = 0.05
)

// A presence is where users are at this moment, by all nodes.
type presence struct {
	mu    sync.Mutex // guards what follows
	at    map[string]string
	count map[string]int
}

// come says where else the user is, empty for nowhere.
func (p *presence) come(user, backend string) (elsewhere string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[user] > 0 && p.at[user] != backend {
		return p.at[user]
	}
	p.at[user] = backend
	p.count[user]++
	return ""
}

func (p *presence) leave(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[user]--; p.count[user] == 0 {
		delete(p.count, user)
		delete(p.at, user)
	}
}

// A flood logs users in, as many each second, until it is stopped.
type flood struct {
	b      *testing.B
	nodes  []*sitter
	users  presence
	logins atomic.Int64
	mu     sync.Mutex // guards took
	took   []time.Duration
}

// A visit is an open session.
type visit struct {
	user string
	hold uint64
}

// run is one node's share of it.
func (f *flood) run(s *sitter, stop <-chan struct{}) {
	var logins sync.WaitGroup
	defer logins.Wait()
	open := make(chan visit, 2*stormLive)
	defer func() {
		logins.Wait()
		close(open)
		for v := range open {
			f.users.leave(v.user)
			s.f.Release(v.hold)
		}
	}()
	tick := time.NewTicker(stormBeat)
	defer tick.Stop()
	began, done := time.Now(), 0
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * stormRate / float64(len(f.nodes))); done < due; done++ {
			user := fmt.Sprintf("user%d", rand.IntN(5*stormLive)) // some are live here or elsewhere, some were, some come for the first time
			logins.Go(func() { f.login(s, user, open) })
		}
		for len(open) > stormLive {
			v := <-open
			f.users.leave(v.user)
			s.f.Release(v.hold)
		}
	}
}

func (f *flood) login(s *sitter, user string, open chan visit) {
	began := time.Now()
	at, _, hold, err := s.f.Place(f.b.Context(), "main", user)
	took := time.Since(began)
	if err != nil {
		f.b.Errorf("%s: %v after %v", user, err, took)
		return
	}
	if elsewhere := f.users.come(user, at); elsewhere != "" {
		f.b.Errorf("%s is on %s and on %s", user, elsewhere, at)
	}
	if err := s.f.Still(hold); err != nil {
		f.b.Error(err)
	}
	s.f.Confirm(hold)
	open <- visit{user, hold}
	f.logins.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.took = append(f.took, took)
}

// shares says by how much the share of a back end differs at most from its weight,
// among users who were never seen.
func (f *flood) shares(round int, weights map[string]int) float64 {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	got := make(map[string]int)
	for i := range stormSample {
		s := f.nodes[i%len(f.nodes)]
		at, _, hold, err := s.f.Place(f.b.Context(), "main", fmt.Sprintf("new%d-%d", round, i))
		if err != nil {
			f.b.Fatal(err)
		}
		s.f.Refused(hold)
		s.f.Release(hold)
		got[at]++
	}
	worst := 0.0
	for name, w := range weights {
		want := float64(stormSample) * float64(w) / float64(sum)
		worst = max(worst, math.Abs(float64(got[name])-want)/want)
	}
	return worst
}

// held are the waits of logins that were held since a number of them: the longest.
func (f *flood) held() (waits spread) {
	var n uint64
	for _, s := range f.nodes {
		n += s.f.stats.Held.Load()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.took)
	slices.Sort(all)
	return spread(all[max(0, len(all)-int(n)):])
}

// BenchmarkSteady adds a back end and changes a weight under 10,000 logins a second
// at three nodes. Whoever is live stays where he is, new users follow the weights,
// and nobody is in two places; else it fails. Asked is that 99 of 100 logins that
// are held wait for 250 ms at most.
func BenchmarkSteady(b *testing.B) {
	nodes := crowd(b, 3, func(o *FleetOptions) { o.Retention = time.Second })
	pool, weights := mainPool(place.Shared, 10), make(map[string]int)
	for _, p := range pool.Backends {
		weights[p.Name] = p.Weight
	}
	f := &flood{b: b, nodes: nodes, users: presence{at: make(map[string]string), count: make(map[string]int)}}
	term := nodes[0].f.raft.CurrentTerm()
	stop := make(chan struct{})
	var running sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); running.Wait() })
	defer end()
	began := time.Now()
	for _, s := range nodes {
		running.Go(func() { f.run(s, stop) })
	}
	off := 0.0
	for i := 0; b.Loop(); i++ {
		until(b, "the flood", func() bool { return f.logins.Load() > int64(i+1)*stormRate })
		fresh := pool.Backends[0]
		fresh.Name, fresh.Address = fmt.Sprintf("fresh%d", i), fmt.Sprintf("192.0.2.99:%d", i+1)
		pool.Backends = append(slices.Clone(pool.Backends), fresh)
		weights[fresh.Name] = fresh.Weight
		for _, s := range nodes {
			if err := s.f.Update([]Pool{pool}); err != nil {
				b.Fatal(err)
			}
			s.f.SetHealth("main", fresh.Name, true)
		}
		until(b, "the new back end", func() bool {
			return !slices.ContainsFunc(nodes, func(s *sitter) bool {
				list := s.f.Status()[0].Backends
				return !slices.ContainsFunc(list, func(r BackendStatus) bool { return r.Name == fresh.Name && r.State == "up" })
			})
		})
		off = max(off, f.shares(2*i, weights))
		weights["store1"] = 250 - weights["store1"]
		until(b, "a leader", func() bool {
			err := nodes[i%3].f.SetWeight(b.Context(), "main", "store1", weights["store1"], "bench")
			if err != nil && !errors.Is(err, ErrNoLeader) {
				b.Fatal(err)
			}
			return err == nil
		})
		want := nodes[i%3].f.epoch("main")
		for _, s := range nodes {
			until(b, "the weight", func() bool { return s.f.epoch("main") >= want })
		}
		off = max(off, f.shares(2*i+1, weights))
	}
	elections(b, nodes[0], term)
	rate := float64(f.logins.Load()) / time.Since(began).Seconds()
	end()
	waits := f.held()
	b.ReportMetric(rate, "logins/s")
	b.ReportMetric(float64(len(waits)), "held")
	if len(waits) > 0 {
		b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "held-p99-ms")
	}
	b.ReportMetric(100*off, "%-off-weight")
	if off > stormShare {
		b.Errorf("new users are off the weights by %.1f %%", 100*off)
	}
	for _, s := range nodes {
		if kicked := s.f.stats.Kicks.Load(); kicked != 0 {
			b.Errorf("node %s closed sessions on %d occasions", s.f.o.Node, kicked)
		}
	}
}
