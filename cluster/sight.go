package cluster

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"
)

const (
	// watchEvery is the least time between two looks at who probes what.
	watchEvery = 100 * time.Millisecond
	// tellEvery is the least time between two calls on the observers of a back end
	// to look at it: failed logins come by the thousand, and probes once a second.
	tellEvery = time.Second
)

// A Prober is who probes back ends for this node. Its methods are called by several
// goroutines, never under a lock, and wait for nothing.
type Prober interface {
	// Watch says whether this node is to probe a back end regularly, and is said
	// again now and then; on for the first time means at once. Without it a back
	// end is probed once, and when a connection to it has failed.
	Watch(pool, backend string, on bool)
	// Look has a back end probed at once: another node doubts that it is well.
	Look(pool, backend string)
}

// A sight is what this node has to do with the health of a back end.
type sight struct {
	observes bool  // it is its office
	watched  bool  // it probes it
	since    int64 // when it began to
	looked   int64 // when it last saw
	doubt    bool  // the observers are to be told
	told     int64 // when they last were
}

// fresh says whether what this node has seen of a back end is worth telling: it has
// looked since it began to watch.
func (s *sight) fresh() bool { return s.watched && s.looked >= s.since }

// sightOf finds the sight of a back end; one that is new is watched until it is
// settled by whom. It is called with mu held.
func (f *Fleet) sightOf(s site) *sight {
	if f.sights[s] == nil {
		f.sights[s] = &sight{watched: true}
	}
	return f.sights[s]
}

// saw notes that this node has looked at a back end just now. It is called with mu
// held.
func (f *Fleet) saw(k site) *sight {
	s := f.sightOf(k)
	before := s.fresh()
	s.looked = bootTime()
	f.untold = f.untold || s.fresh() && !before
	return s
}

// Probed notes that this node has probed a back end. What that changed, SetHealth
// has said before.
func (f *Fleet) Probed(pool, backend string, good bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.saw(site{pool, backend})
	if up := f.health[pool][backend]; up && !good {
		s.doubt = true // the first to see it need not be the only one for long
	}
	if f.untold || s.doubt {
		f.wake()
	}
}

// Doubt says that a connection to a back end has failed: whoever observes it is to
// look at once. It never blocks.
func (f *Fleet) Doubt(pool, backend string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sightOf(site{pool, backend}); !s.doubt {
		s.doubt = true
		f.wake()
	}
}

// inService are the nodes that share the probes: those that gossip sees and that are
// counted, and this one. It is called with mu held.
func (f *Fleet) inService() []string {
	var list []string
	for name, p := range f.alive() {
		if m := f.table.Members[name]; !p.Witness && m != nil && m.Counted && name != f.o.Node {
			list = append(list, name)
		}
	}
	if !f.o.Witness {
		list = append(list, f.o.Node)
	}
	return list
}

// up is the fleet's verdict about a back end. It is called with mu held.
func (f *Fleet) up(s site) (up, known bool) {
	if p := f.table.Pools[s.pool]; p != nil {
		for _, b := range p.Backends {
			if b.Name == s.backend && !b.Removed {
				return b.Up, true
			}
		}
	}
	return false, false
}

// A plan is what watch found that has to be said, which is not done under the lock.
type plan struct {
	watch   map[site]bool     // whether to probe it
	tell    map[site][]string // who should look, by address
	failing []string          // what only this node sees down
}

// watch settles who probes what, and has the observers look where there is doubt.
// The loop calls it.
func (f *Fleet) watch() {
	now := bootTime()
	if f.o.Witness || now-f.watched < int64(watchEvery) {
		return
	}
	f.watched = now
	again := now-f.rewatched >= int64(time.Second)
	if again {
		f.rewatched = now
	}
	p := f.plan(now, again)
	for s, on := range p.watch {
		if f.o.Prober != nil {
			f.o.Prober.Watch(s.pool, s.backend, on)
		}
	}
	for s, addresses := range p.tell {
		for _, a := range addresses {
			f.running.Go(func() { _ = f.send(a, "/v1/look", look{s.pool, s.backend}, nil) }) // later they look by themselves
		}
	}
}

// plan brings the sights up to date. Again: all of them are said, not only what is
// new.
func (f *Fleet) plan(now int64, again bool) plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := plan{watch: make(map[site]bool), tell: make(map[site][]string)}
	nodes, leased := f.inService(), f.node.Leased(now)
	known := make(map[site]bool)
	for _, pool := range f.pools {
		for _, b := range pool.Backends {
			k := site{pool.Name, b.Name}
			known[k] = true
			f.planFor(k, &p, observers(k, nodes), leased, again, now)
		}
	}
	maps.DeleteFunc(f.sights, func(k site, _ *sight) bool { return !known[k] })
	f.reach(now, leased && 2*len(p.failing) > len(known), p.failing)
	return p
}

// planFor is plan for one back end. It is called with mu held.
func (f *Fleet) planFor(k site, p *plan, chosen []string, leased, again bool, now int64) {
	s := f.sightOf(k)
	own, looked := f.health[k.pool][k.backend]
	all, judged := f.up(k)
	s.observes = slices.Contains(chosen, f.o.Node)
	// Who is alone relies on nobody; and who sees what the others do not has to see
	// when that ends.
	on := s.observes || !leased || looked && judged && own != all
	if on && !s.watched {
		s.since = now
	}
	if on != s.watched || again {
		p.watch[k] = on
	}
	s.watched = on
	if looked && !own && all && (f.o.Prober == nil || s.fresh()) {
		p.failing = append(p.failing, k.pool+"/"+k.backend)
	}
	if s.doubt && now-s.told >= int64(tellEvery) {
		s.told = now
		p.tell[k] = f.othersOf(chosen)
	}
	s.doubt = false
}

// othersOf are the addresses of those of some nodes that are not this one.
func (f *Fleet) othersOf(nodes []string) []string {
	var list []string
	alive := f.alive()
	for _, name := range nodes {
		if p, there := alive[name]; there && name != f.o.Node && f.port != nil {
			list = append(list, p.address)
		}
	}
	return list
}

// look asks another node to probe a back end.
type look struct {
	Pool    string `json:"pool"`
	Backend string `json:"backend"`
}

// looking answers other nodes' doubts.
func (f *Fleet) looking(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/look", func(w http.ResponseWriter, r *http.Request) {
		var l look
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&l) != nil {
			http.Error(w, "nothing to look at", http.StatusBadRequest)
			return
		}
		if f.o.Prober != nil {
			f.o.Prober.Look(l.Pool, l.Backend)
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
