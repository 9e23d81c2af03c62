package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/health"
)

// A lookout is the probes of a test's node: it looks when it is told to, and then
// sees what the test has set.
type lookout struct {
	f *Fleet

	mu      sync.Mutex
	down    map[string]bool // as can be seen from here
	watched map[string]bool
	looks   map[string]int // by Look
}

func newLookout() *lookout {
	return &lookout{down: map[string]bool{}, watched: map[string]bool{}, looks: map[string]int{}}
}

func (l *lookout) Watch(_, backend string, on bool) {
	l.mu.Lock()
	fresh := on && !l.watched[backend]
	l.watched[backend] = on
	l.mu.Unlock()
	if fresh {
		l.see(backend)
	}
}

func (l *lookout) Look(_, backend string) {
	l.mu.Lock()
	l.looks[backend]++
	l.mu.Unlock()
	l.see(backend)
}

// see has the node probe a back end.
func (l *lookout) see(backend string) {
	l.mu.Lock()
	down := l.down[backend]
	l.mu.Unlock()
	l.f.SetHealth("main", backend, !down)
	l.f.Probed("main", backend, !down)
}

// set says what can be seen from here; a regular probe finds it out.
func (l *lookout) set(down bool, backends ...string) {
	for _, b := range backends {
		l.mu.Lock()
		l.down[b] = down
		watched := l.watched[b]
		l.mu.Unlock()
		if watched {
			l.see(b)
		}
	}
}

func (l *lookout) watches(backend string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watched[backend]
}

// An outpost is a node of a test with its probes.
type outpost struct {
	*sitter
	*lookout
	name string
	end  func()
}

const storeCount = 3

var storeNames = []string{"store1", "store2", "store3"}

// outposts opens a fleet of so many nodes, the first of which vote, and waits until
// all serve and have settled who probes what.
func outposts(t *testing.T, n, voters int) []*outpost {
	t.Helper()
	secret := NewSecret()
	var nodes []*outpost
	var join []string
	for i, name := range edges(n) {
		l := newLookout()
		o := FleetOptions{
			Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: slices.Clone(join), Voters: edges(voters),
			State: filepath.Join(t.TempDir(), name), KickDelay: 50 * time.Millisecond, Prober: &late{lookout: l, ready: make(chan struct{})},
		}
		s, end := startNode(t, o, mainPool(place.Shared, storeCount))
		l.f = s.f
		close(o.Prober.(*late).ready)
		once := sync.OnceFunc(end)
		t.Cleanup(once)
		nodes = append(nodes, &outpost{s, l, name, once})
		if i < voters {
			join = append(join, s.f.port.advertise.String())
		}
	}
	for _, o := range nodes {
		await(t, o.sitter)
	}
	agreed(t, nodes)
	return nodes
}

// A late Prober waits until the test has the Fleet that tells it.
type late struct {
	*lookout
	ready chan struct{}
}

func (l *late) Watch(pool, backend string, on bool) { <-l.ready; l.lookout.Watch(pool, backend, on) }
func (l *late) Look(pool, backend string)           { <-l.ready; l.lookout.Look(pool, backend) }

// settled waits until each back end is probed by whom it should be.
func agreed(t *testing.T, nodes []*outpost) {
	t.Helper()
	var names []string
	for _, o := range nodes {
		names = append(names, o.name)
	}
	until(t, "the probes to be shared", func() bool {
		for _, b := range storeNames {
			chosen := observers(site{"main", b}, names)
			for _, o := range nodes {
				if o.watches(b) != slices.Contains(chosen, o.name) {
					return false
				}
			}
		}
		return true
	})
}

// state is a back end's in the node's active view.
func (o *outpost) state(backend string) string {
	for _, p := range o.sitter.f.Status() {
		for _, b := range p.Backends {
			if b.Name == backend {
				return b.State
			}
		}
	}
	return ""
}

// judged waits until the leader has judged once more, with all that was reported.
func judgedAgain(t *testing.T, nodes []*outpost) {
	t.Helper()
	leader := func() *Fleet {
		for _, o := range nodes {
			f := o.sitter.f
			f.mu.Lock()
			leads := f.leader != nil && bootTime()-f.led > judgeAfter
			f.mu.Unlock()
			if leads {
				return f
			}
		}
		return nil
	}
	until(t, "a leader that judges", func() bool { return leader() != nil })
	f := leader()
	after := bootTime()
	until(t, "all nodes to have reported", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		heard := 0
		for _, r := range f.extra {
			if r.at > after+int64(reconcileEvery) {
				heard++
			}
		}
		return heard == len(nodes)
	})
}

// TestObserversOfSeven holds that five of seven nodes probe a back end, that a node
// which goes is replaced, and that its replacement looks at once.
func TestObserversOfSeven(t *testing.T) {
	nodes := outposts(t, 7, 3)
	for _, b := range storeNames {
		n := 0
		for _, o := range nodes {
			if o.watches(b) {
				n++
			}
		}
		if n != MaxObservers {
			t.Errorf("%s is probed by %d nodes, want %d", b, n, MaxObservers)
		}
	}
	at := slices.IndexFunc(nodes, func(o *outpost) bool { return o.watches("store1") && !slices.Contains(edges(3), o.name) })
	if at < 0 {
		t.Fatal("store1 has no observer that can be ended")
	}
	for _, o := range nodes {
		o.lookout.mu.Lock()
		o.down["store1"] = true // nobody has probed it since
		o.lookout.mu.Unlock()
	}
	gone := nodes[at]
	nodes = slices.Delete(slices.Clone(nodes), at, at+1)
	gone.out()
	gone.end()
	agreed(t, nodes)
	// The new one has seen it, and calls the others.
	until(t, "store1 to be down", func() bool { return nodes[0].state("store1") == "down" })
}

// TestDoubt holds that a connection that fails on a node which is no observer has
// the observers look at once.
func TestDoubt(t *testing.T) {
	nodes := outposts(t, 7, 3)
	judgedAgain(t, nodes)
	other := nodes[slices.IndexFunc(nodes, func(o *outpost) bool { return !o.watches("store2") })]
	for _, o := range nodes {
		o.lookout.mu.Lock()
		o.down["store2"] = true
		o.lookout.mu.Unlock()
	}
	for range 1000 {
		other.sitter.f.Doubt("main", "store2")
	}
	until(t, "store2 to be down", func() bool { return other.state("store2") == "down" })
	for _, o := range nodes {
		o.lookout.mu.Lock()
		// One call of the node's in the time, and one of each observer that saw it.
		if n := o.looks["store2"]; n > 2*MaxObservers {
			t.Errorf("%s was told to look %d times", o.name, n)
		}
		o.lookout.mu.Unlock()
	}
}

// TestOtherMind holds that a node which is no observer and sees something else than
// the fleet goes on looking until it does not, and has no vote.
func TestOtherMind(t *testing.T) {
	nodes := outposts(t, 7, 3)
	other := nodes[slices.IndexFunc(nodes, func(o *outpost) bool { return !o.watches("store3") })]
	other.lookout.mu.Lock()
	other.down["store3"] = true
	other.lookout.mu.Unlock()
	other.see("store3") // a connection failed
	until(t, "the node to go on looking", func() bool { return other.watches("store3") })
	judgedAgain(t, nodes)
	if s := other.state("store3"); s != "up" {
		t.Errorf("store3 is %s by the word of one that does not observe it", s)
	}
	other.set(false, "store3")
	until(t, "the node to leave it to the others", func() bool { return !other.watches("store3") })
}

// TestVerdicts holds that only what was seen since is told, and by whom in office.
func TestVerdicts(t *testing.T) {
	f := &Fleet{
		o:      FleetOptions{Prober: newLookout()},
		health: map[string]map[string]bool{"main": {"store1": true, "store2": false, "store3": true, "store4": true}},
		sights: map[site]*sight{
			{"main", "store1"}: {watched: true, observes: true, since: 5, looked: 5},
			{"main", "store2"}: {watched: true, since: 5, looked: 6},
			{"main", "store3"}: {watched: true, observes: true, since: 5, looked: 4}, // before its office
			{"main", "store4"}: {since: 5, looked: 6},                                // by chance
		},
	}
	verdicts, observes := f.verdicts()
	if got, want := fmt.Sprint(verdicts, observes), "map[main:map[store1:true store2:false]] map[main:[store1]]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	f.o.Prober = nil // then nobody says when it has looked
	if verdicts, _ = f.verdicts(); len(verdicts["main"]) != 4 {
		t.Errorf("without a prober told %v, want all", verdicts)
	}
}

// TestAlone holds that a node which alone sees all back ends down moves nobody, and
// says that it is not ready; and that what most see is the fleet's view.
func TestAlone(t *testing.T) {
	nodes := outposts(t, 5, 3)
	alone, other := nodes[4], nodes[0]
	var users []string
	home := map[string]string{}
	for i := range 30 {
		user := fmt.Sprintf("user%d", i)
		users = append(users, user)
		home[user], _ = other.login(t, user)
	}
	alone.set(true, storeNames...)
	until(t, "the node to say that it is alone", func() bool { return len(alone.sitter.f.Unreached()) > 0 })
	judgedAgain(t, nodes)
	for _, b := range storeNames {
		if s := alone.state(b); s != "up" {
			t.Errorf("%s is %s", b, s)
		}
	}
	for _, user := range users {
		if at, why := alone.login(t, user); at != home[user] {
			t.Errorf("%s by %s is at %s, by the others at %s", user, why, at, home[user])
		}
	}
	if n := other.count(); n != len(users) {
		t.Errorf("%d of %d sessions are left on another node", n, len(users))
	}
	for _, o := range nodes[:4] {
		if r := o.sitter.f.Unreached(); len(r) > 0 {
			t.Errorf("%s says %q", o.name, r)
		}
	}
	if r := alone.sitter.f.Unreached(); len(r) != 1 || r[0].Code != health.BackendsAway || !strings.Contains(r[0].Text, "this node") {
		t.Errorf("it says %q", r)
	}
	// Its word does not count, so two of the four others are half of those that do.
	nodes[0].set(true, "store1")
	nodes[1].set(true, "store1")
	judgedAgain(t, nodes)
	if s := other.state("store1"); s != "up" {
		t.Errorf("store1 is %s by the word of two of four", s)
	}
	nodes[2].set(true, "store1")
	until(t, "store1 to be down", func() bool { return alone.state("store1") == "down" })
	for _, b := range storeNames[1:] {
		if s := alone.state(b); s != "up" {
			t.Errorf("%s is %s", b, s)
		}
	}
	alone.set(false, storeNames[1:]...)
	until(t, "the node to be ready again", func() bool { return len(alone.sitter.f.Unreached()) == 0 })
}

// TestIsolatedProbesAll holds that a node without its fleet relies on nobody, though
// it sees others that would observe for it.
func TestIsolatedProbesAll(t *testing.T) {
	nodes := outposts(t, 7, 1)
	rest := nodes[1:]
	chosen := observers(site{"main", "store1"}, edges(7)[1:])
	at := slices.IndexFunc(rest, func(o *outpost) bool { return !slices.Contains(chosen, o.name) })
	nodes[0].end() // the only voter
	until(t, "the node to probe all", func() bool {
		return !slices.ContainsFunc(storeNames, func(b string) bool { return !rest[at].watches(b) })
	})
	if n := len(rest[at].sitter.f.alive()); n != len(rest) {
		t.Errorf("the node sees %d nodes, want %d: it had to probe all anyway", n, len(rest))
	}
}
