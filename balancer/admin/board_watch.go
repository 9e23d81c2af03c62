package admin

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"usher.example/cluster"
)

const (
	// boardEvery is the time between two looks at the fleet, while somebody looks at
	// the page: quick enough to see an order take effect, slow enough for a fleet of
	// ten nodes with a hundred back ends (40 KB a node and look).
	boardEvery = 2 * time.Second
	// rateLooks is over how many looks a rate is taken, so that it does not jump.
	rateLooks = 5
	// keptLooks is over how many quantiles are.
	keptLooks = 15
	// staleLooks is how long nobody may have looked, in boardEvery, before a rate is
	// begun anew.
	staleLooks = 4
)

// A look is what one node told at one moment.
type look struct {
	at   time.Time
	part nodePart
}

// A shot is a finished Board, encoded once for all who look.
type shot struct {
	at      time.Time
	encoded map[string][]byte // by role
}

// A watcher looks at the fleet for those who look at the page. Who holds the turn
// asks the nodes; the others wait for what he finds. So there is one question to
// each node at a time, and none while nobody looks.
type watcher struct {
	s    *Server
	turn chan struct{} // holds one

	// What follows belongs to who holds the turn.
	last *shot
	seen map[string][]look // by node, newest last
}

func newWatcher(s *Server) *watcher {
	return &watcher{s: s, turn: make(chan struct{}, 1), seen: make(map[string][]look)}
}

// current returns a shot that is not older than boardEvery.
func (w *watcher) current(ctx context.Context) (*shot, error) {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-w.turn }()
	if w.last != nil && time.Since(w.last.at) < boardEvery {
		return w.last, nil
	}
	b := w.board()
	taken := &shot{at: b.Time, encoded: make(map[string][]byte)}
	for _, role := range []string{roleLooks, roleOrders} {
		b.show(role)
		text, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		taken.encoded[role] = text
	}
	w.last = taken
	return taken, nil
}

// show has the board be one for a role. Who has set a back end is for those only who may
// do it themselves.
func (b *Board) show(role string) {
	b.Role = role
	for i := range b.Backends {
		row := &b.Backends[i]
		if row.By = ""; role == roleOrders {
			row.By = row.by
		}
	}
}

// board looks once.
func (w *watcher) board() *Board {
	o := w.s.o
	b := &Board{
		Every: boardEvery.Seconds(), Version: o.Version,
		Nodes: []BoardNode{}, Pools: []BoardPool{}, Backends: []BoardBackend{}, Certificates: []BoardCertificate{},
	}
	view := cluster.Overview{Node: "this node", Quorum: true, Members: []cluster.NodeState{{Node: "this node", Role: "voter", State: "alive", Leads: true}}}
	if o.Fleet != nil {
		view = o.Fleet.Overview()
		b.Fleet.Missing = o.Fleet.MissingVoters()
	}
	b.Node = view.Node
	b.Fleet.fill(view)
	parts := w.ask(view.Node)
	b.Time = time.Now()
	w.keep(b.Time, parts, view)
	b.nodes(w, view, parts)
	b.backends(w)
	b.certificates(w, parts)
	b.sum()
	if o.RecentEvents != nil {
		b.Events = o.RecentEvents()
		if b.Events == nil {
			b.Events = []BoardEvent{}
		}
		b.Events = b.Events[:min(len(b.Events), MaxBoardEvents)]
	}
	b.judge()
	return b
}

// MaxBoardEvents are shown; who wants more asks for the events themselves.
const MaxBoardEvents = 50

func (f *BoardFleet) fill(v cluster.Overview) {
	f.Name, f.Leader, f.Quorum, f.Isolated = v.Fleet, v.Leader, v.Quorum, v.Isolated
	f.Moves, f.Pins, f.Error = v.Moves, v.Pins, clip(v.Error)
	if f.Changes = v.Changes; f.Changes == nil {
		f.Changes = []string{}
	}
	if f.Missing == nil {
		f.Missing = []string{}
	}
}

// ask has all nodes tell their part. Who does not answer is missed later.
func (w *watcher) ask(self string) map[string]cluster.Part {
	if w.s.o.Parts == nil {
		text, err := w.s.Part()
		if err != nil {
			return nil
		}
		return map[string]cluster.Part{self: {Shown: text}}
	}
	parts, _ := w.s.o.Parts()
	return parts
}

// keep notes what was told, and forgets nodes that the fleet has forgotten.
func (w *watcher) keep(now time.Time, parts map[string]cluster.Part, view cluster.Overview) {
	for node := range w.seen {
		if _, told := parts[node]; !told && !slices.ContainsFunc(view.Members, func(m cluster.NodeState) bool { return m.Node == node }) {
			delete(w.seen, node)
		}
	}
	for node, p := range parts {
		var told nodePart
		if json.Unmarshal(p.Shown, &told) != nil {
			continue // of another build, or nothing to show yet
		}
		told.bound()
		looks := w.seen[node]
		if n := len(looks); n > 0 && (told.Uptime < looks[n-1].part.Uptime || now.Sub(looks[n-1].at) > staleLooks*boardEvery) {
			looks = nil // it was started anew, or nobody has looked for long
		}
		looks = append(looks, look{now, told})
		w.seen[node] = slices.Clone(looks[max(0, len(looks)-keptLooks):])
	}
}

const (
	// maxSeconds bounds a time that a node tells, and that of the processors it has used:
	// a century of three hundred of them.
	maxSeconds = 1e12
	// maxLe bounds that of a histogram, in seconds: no dial takes as long.
	maxLe = 1e6
)

// within is a number of seconds as they can be.
func within(seconds float64) float64 { return min(max(seconds, 0), maxSeconds) }

// bound cuts what another node told to what is shown of it.
func (p *nodePart) bound() {
	p.Uptime, p.CPU = within(p.Uptime), within(p.CPU)
	p.Version, p.Reasons, p.Degraded = clip(p.Version), clipAll(p.Reasons), clipAll(p.Degraded)
	p.Backends = p.Backends[:min(len(p.Backends), maxPartBackends)]
	for i := range p.Backends {
		b := &p.Backends[i]
		b.Pool, b.Name, b.Error = clip(b.Pool), clip(b.Name), clip(b.Error)
		b.Down = within(b.Down)
		b.Connect = slices.DeleteFunc(b.Connect[:min(len(b.Connect), maxBuckets)], func(c count) bool { return c.Le <= 0 || c.Le > maxLe })
	}
	p.Certificates = p.Certificates[:min(len(p.Certificates), maxBoardCerts)]
	for i := range p.Certificates {
		c := &p.Certificates[i]
		c.ID, c.Source, c.Problem = clip(c.ID), clip(c.Source), clip(c.Problem)
		c.Names, c.Listeners = clipAll(c.Names), clipAll(c.Listeners)
	}
}

// rate is how much a counter of a node grew per second; nil if it was seen once only.
func rate(looks []look, of func(*nodePart) float64) *float64 {
	looks = looks[max(0, len(looks)-1-rateLooks):]
	n := len(looks)
	if n < 2 {
		return nil
	}
	span := looks[n-1].at.Sub(looks[0].at).Seconds()
	grown := of(&looks[n-1].part) - of(&looks[0].part)
	if span <= 0 || grown < 0 {
		return nil
	}
	return finite(grown / span)
}

// finite is a number that JSON has; nil if it has none, since what a node told was no
// number of anything.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// add sums rates, of which one may be unknown.
func add(sum, more *float64) *float64 {
	if more == nil {
		return sum
	}
	total := *more
	if sum != nil {
		total += *sum
	}
	return finite(total)
}
