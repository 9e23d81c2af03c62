package cluster

import (
	"fmt"
	"strings"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// Rules that are the fleet's own, in an Explanation.
const (
	ByName   = "name"   // what the name becomes
	ByJoin   = "join"   // the node has joined its fleet
	ByStop   = "stop"   // the node is being stopped
	ByServer = "server" // the back end is the same server here
	ByQueue  = "queue"  // not too many logins wait
)

// An Explanation is how the place of a user comes about at this moment: what a login
// that came now would be answered, by the code that answers it.
type Explanation struct {
	Pool    string `json:"pool"`
	Storage string `json:"storage,omitempty"`
	Typed   string `json:"typed"` // the name as it was given
	User    string `json:"user"`  // normalised: what he is placed by
	// Steps are the rules in the order in which they were asked.
	Steps []place.Step `json:"steps"`
	// Place and Why are those of a login that is placed now; of one that waits Why is
	// empty, and Place where he would go by what holds now.
	Place string `json:"place,omitempty"`
	Why   string `json:"why,omitempty"` // stay, pin or home
	// Waits says that a login would wait, for at most HoldSeconds, and then be refused.
	Waits       bool    `json:"waits,omitempty"`
	HoldSeconds float64 `json:"hold_seconds,omitempty"`
	// Error is why a login would be refused: at once, or after the wait.
	Error string `json:"error,omitempty"`

	Pin *ExplainedPin `json:"pin,omitempty"`
	// Candidates are the back ends that may be his home, the home first, and then those
	// that may not, with the reason.
	Candidates []ExplainedBackend `json:"candidates"`
	Live       string             `json:"live,omitempty"` // the back end where he is live, as this node knows
	Moving     *ExplainedMove     `json:"moving,omitempty"`
}

// An ExplainedPin is a user's pin.
type ExplainedPin struct {
	Backend string `json:"backend"`
	// ByFile: a pins file has it, File, if that is this node's.
	ByFile bool   `json:"by_file,omitempty"`
	File   string `json:"file,omitempty"`
}

// An ExplainedBackend is a candidate for a user's home.
type ExplainedBackend struct {
	Name   string      `json:"name"`
	Score  float64     `json:"score,omitempty"` // the lowest is the home
	Weight int         `json:"weight"`
	Share  float64     `json:"share"` // of the users whose home it is, 0 to 1
	Admin  table.Admin `json:"admin"`
	Up     bool        `json:"up"`            // by the fleet's verdict
	Why    string      `json:"why,omitempty"` // why it is nobody's home now
}

// An ExplainedMove is a move that is under way.
type ExplainedMove struct {
	Target string `json:"target,omitempty"`
	By     string `json:"by,omitempty"`
	// Waits are the nodes that have not closed his connections yet.
	Waits []string `json:"waits,omitempty"`
}

// Explain says how a login of a user would be answered now, and why. It changes nothing.
// The error is ErrNoPool.
func (f *Fleet) Explain(pool, user string) (Explanation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := Explanation{Pool: pool, Typed: user, Steps: []place.Step{}, Candidates: []ExplainedBackend{}}
	p := f.table.Pools[pool]
	if (p == nil || removed(p)) && !f.pending(pool) {
		return e, fmt.Errorf("pool %q: %w", pool, ErrNoPool)
	}
	var tr place.Trace
	k := f.keyer.Load()
	if k == nil || !f.node.Keyed(k.made) {
		e.User = f.o.Names.Normal(user)
		tr.Note(ByJoin, place.Waits, 0, "", "the node has not joined its fleet yet, or cannot open its map key: logins wait")
		e.wait(f.o.Hold, &heldError{fmt.Sprintf("%v: it has not been joined yet", ErrIsolated)})
		e.Steps = tr.Steps
		return e, nil
	}
	e.User = k.names.Normal(user)
	if e.User == user {
		tr.Note(ByName, place.Passed, 0, "", "the name is placed as it was typed")
	} else {
		tr.Note(ByName, place.Passed, 0, "", "he is placed by the name "+e.User+" ("+strings.Join(nameRules(k.names), ", ")+")")
	}
	key := k.keys.Key(pool, e.User)
	if p != nil {
		f.describeUser(&e, p, key)
	}
	a := f.decide(pool, key, &tr)
	e.Place, e.Why = a.backend, a.why
	switch {
	case a.changed != nil:
		if p != nil {
			e.Place = nameOf(p, f.table.Present(p, key).Backend)
		}
		if f.held >= f.o.MaxHeld {
			tr.Note(ByQueue, place.Refuses, 0, "", "too many logins wait already: this one is refused at once")
			e.Error = ErrHeld.Error()
			break
		}
		tr.Note(ByQueue, place.Waits, 0, "", "it waits, and is refused if that takes longer than hold_seconds")
		e.wait(f.o.Hold, ErrHeld)
	case a.err != nil:
		e.Error = a.err.Error()
	}
	for i := range tr.Steps {
		if s := &tr.Steps[i]; s.Backend == "" && s.ID != 0 && p != nil {
			s.Backend = nameOf(p, s.ID)
		}
	}
	e.Steps = tr.Steps
	return e, nil
}

type heldError struct{ text string }

func (h *heldError) Error() string { return h.text }

func (e *Explanation) wait(limit time.Duration, err error) {
	e.Waits, e.HoldSeconds, e.Error = true, limit.Seconds(), err.Error()
}

// describeUser adds what is known of a user. It is called with mu held.
func (f *Fleet) describeUser(e *Explanation, p *table.Pool, key place.Key) {
	e.Storage = p.Active.Storage().String()
	if pin, ok := f.table.Pins.Find(key); ok {
		e.Pin = &ExplainedPin{Backend: pin.Backend, ByFile: pin.File}
		for _, c := range f.pools {
			if pin.File && c.Name == p.Name && c.Pins[e.User] == pin.Backend {
				e.Pin.File = c.PinsFile
			}
		}
	}
	if id, ok := p.Stays[key]; ok {
		e.Live = nameOf(p, id)
	} else if id, _, ok := f.node.At(key); ok {
		e.Live = nameOf(p, id)
	}
	if m := f.table.Moving(key); m != nil {
		e.Moving = &ExplainedMove{Target: m.Target, By: m.By}
		for _, name := range sortedKeys(f.table.Members) {
			n := f.table.Members[name]
			if c, ok := m.Clear[name]; n.Counted && (!ok || c.Life != n.Life) {
				e.Moving.Waits = append(e.Moving.Waits, name)
			}
		}
	}
	ranked := p.Active.Rank(key)
	all := 0
	for _, c := range ranked {
		all += c.Backend.Weight
	}
	row := func(b place.Backend) ExplainedBackend {
		x := ExplainedBackend{Name: b.Name, Weight: b.Weight}
		if t := p.Backends[b.ID]; t != nil {
			x.Admin, x.Up = t.Admin, t.Up
		}
		return x
	}
	for _, c := range ranked {
		x := row(c.Backend)
		x.Score, x.Share = c.Score, float64(c.Backend.Weight)/float64(all)
		if c.Backend.State != place.Up { // with local storage it stays the home
			x.Why = unusable(p.Backends[c.Backend.ID], c.Backend, true)
		}
		e.Candidates = append(e.Candidates, x)
	}
	left := p.Active.Left()
	for _, b := range p.Active.List() {
		if _, out := left[b.Name]; out {
			x := row(b)
			if x.Why = left[b.Name]; p.Backends[b.ID] != nil {
				x.Why = unusable(p.Backends[b.ID], b, true)
			}
			e.Candidates = append(e.Candidates, x)
		}
	}
}

// nameRules says what is done to names.
func nameRules(n place.Names) []string {
	var rules []string
	if n.LowerCase {
		rules = append(rules, "lower case")
	}
	if n.DefaultDomain != "" {
		rules = append(rules, "default domain "+n.DefaultDomain)
	}
	if n.StripDomain != "" {
		rules = append(rules, "without the domain "+n.StripDomain)
	}
	return rules
}
