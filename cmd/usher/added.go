package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// Back ends that were added by command are kept by the fleet, one value each. Every node
// puts them over its own file: at its start, at a reload, and when one comes or goes.
//
// One comes in two steps, so that nobody is placed where some node cannot bring him: first
// its definition is not live, and each node makes ready to reach it; when all have, it is
// made live, and the leader tells the fleet of it. It goes the same way back.

// takeAgain is after how long it is tried once more what could not be put into force:
// while this node leads, the fleet waits for it.
const takeAgain = time.Second

// watchAdded takes up what comes and goes, until the node is stopped.
func (n *node) watchAdded(w *cluster.Watch) {
	for n.ctx.Err() == nil {
		ctx, cancel := n.ctx, context.CancelFunc(func() {})
		if n.takeAdded() != nil {
			ctx, cancel = context.WithTimeout(n.ctx, takeAgain)
		}
		_, err := w.Next(ctx)
		over := err != nil && ctx.Err() == nil
		cancel()
		if over {
			return // the fleet has ended, a moment before the node
		}
	}
}

// layOver puts what the fleet has over a configuration. It is called with applying held.
func (n *node) layOver(base *wiring, c *config.Config) *overlay {
	return lay(base, c, n.fleet.Here(config.DefinitionDir))
}

// takeAdded puts into force what has come or gone since the last time.
func (n *node) takeAdded() error {
	n.applying.Lock()
	defer n.applying.Unlock()
	return n.takeUp()
}

// takeUp is takeAdded with applying held.
func (n *node) takeUp() error {
	if n.base == nil {
		return nil
	}
	now := n.layOver(n.base, n.cfg)
	if before := n.over.Load(); before != nil && now.same(before) {
		return nil
	}
	if err := n.enact(now); err != nil {
		n.log.Error("back ends that were added or removed by command are not taken up; it is tried again", "err", err)
		return err
	}
	n.noteAdded(now)
	return nil
}

// enact is apply for back ends only: listeners, certificates and limits stay. A node that
// is being stopped does it as well: until its sessions are gone it may lead, and the
// others wait for its word.
func (n *node) enact(o *overlay) error {
	w := o.balancer
	if !n.open.Load() || n.draining.Load() {
		w.Listeners = nil
	}
	if err := n.server.Apply(w); err != nil {
		return err
	}
	n.retire(o.checks)
	err := n.fleet.UpdateOver(o.places, o.reading)
	n.examine(o.checks)
	return err
}

// noteAdded keeps what is in force, and logs what is new in it.
func (n *node) noteAdded(o *overlay) {
	before := n.over.Swap(o)
	if before == nil {
		before = new(overlay)
	}
	for _, key := range sorted(o.taken) {
		if _, was := before.taken[key]; !was {
			n.log.Info("a back end that was added by command is taken up", "event", "backend_added", "backend", short(key), "in_file", o.shadowed[key])
		}
	}
	for _, key := range sorted(before.taken) {
		if _, is := o.taken[key]; !is && o.problems[key] == "" {
			n.log.Info("a back end that was added by command is given up", "event", "backend_removed", "backend", short(key))
		}
	}
	for _, key := range sorted(o.differ) {
		if before.differ[key] != o.differ[key] {
			n.log.Warn("a back end that was added by command is another one in the file, which comes first: users move", "event", "backend_differs", "backend", short(key), "differs", o.differ[key])
		}
	}
	for _, key := range sorted(o.problems) {
		if before.problems[key] != o.problems[key] {
			n.log.Error("a back end that was added by command cannot be used here", "event", "backend_unusable", "backend", safe(short(key)), "err", o.problems[key])
		}
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// addedUnusable is a condition of readiness: the node serves, but users of these back
// ends wait in vain here.
func (n *node) addedUnusable() []string {
	o := n.over.Load()
	if o == nil || len(o.problems) == 0 {
		return nil
	}
	key := sorted(o.problems)[0]
	return []string{fmt.Sprintf("%d back ends that were added by command cannot be used here, such as %s: %s", len(o.problems), safe(short(key)), o.problems[key])}
}

// Topics that nodes ask each other about.
const (
	tryTopic   = "backend-try"   // can it be used
	addedTopic = "backend-added" // what is in use
	namesTopic = "names"
	findTopic  = "sessions"
)

// A tried says whether a node could use a back end.
type tried struct {
	File    bool   `json:"file"`              // its file has one of that name
	Problem string `json:"problem,omitempty"` // why not; empty if it could
}

// An inUse is what a node has of the definitions.
type inUse struct {
	Taken    map[string]string `json:"taken"`
	Problems map[string]string `json:"problems"`
	File     []string          `json:"file,omitempty"`   // keys of those in the file as well
	Differ   map[string]string `json:"differ,omitempty"` // how the file has them otherwise, by key
}

// answerFleet has this node answer what others ask about back ends and sessions.
func (n *node) answerFleet() {
	n.fleet.Answer(tryTopic, func(ctx context.Context, question json.RawMessage) (any, error) {
		var a config.Addition
		if err := json.Unmarshal(question, &a); err != nil {
			return nil, err
		}
		return n.try(ctx, a)
	})
	n.fleet.Answer(addedTopic, func(context.Context, json.RawMessage) (any, error) {
		u := inUse{Taken: map[string]string{}, Problems: map[string]string{}}
		if o := n.over.Load(); o != nil {
			u.Taken, u.Problems, u.File, u.Differ = o.taken, o.problems, sorted(o.shadowed), o.differ
		}
		return u, nil
	})
	n.answerSessions()
}

// try says whether this node could use a back end.
func (n *node) try(ctx context.Context, a config.Addition) (tried, error) {
	o := n.over.Load()
	if o == nil {
		return tried{}, errors.New("it is starting: try again in a moment")
	}
	c, base := o.file, o.base
	if c.Backend(a.Pool, a.Name) != nil {
		return tried{File: true}, nil
	}
	for _, key := range sorted(o.taken) { // what was added before counts as well
		d, err := config.ParseDefinition(key, []byte(o.taken[key]))
		if err != nil || key == a.Key() || o.shadowed[key] {
			continue
		}
		if more, err := c.With(d.Addition); err == nil {
			c = more
		}
	}
	more, err := c.With(a)
	if err != nil {
		return tried{Problem: err.Error()}, nil
	}
	if bad := more.CheckBackend(ctx, a.Pool, a.Name); len(bad) > 0 {
		return tried{Problem: bad.Error()}, nil
	}
	if _, err := base.plus(*more.Backend(a.Pool, a.Name), config.Definition{Addition: a}); err != nil {
		return tried{Problem: err.Error()}, nil
	}
	return tried{}, nil
}
