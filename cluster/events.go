package cluster

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"usher.example/cluster/table"
)

// Name is the node's.
func (f *Fleet) Name() string { return f.o.Node }

// eventing answers what other nodes ask about this one's events.
func (f *Fleet) eventing(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/events", func(w http.ResponseWriter, r *http.Request) {
		var question json.RawMessage
		if f.o.Events == nil || json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&question) != nil {
			http.Error(w, "no events", http.StatusBadRequest)
			return
		}
		answer, err := f.o.Events(question)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, answer)
	})
}

// Events asks all other nodes that serve about their events, or those of them that only
// names, if it is not nil, at the same time, and calls got for each answer as it comes, one
// at a time; both are what FleetOptions.Events takes and gives. The error names the nodes
// that did not answer. It takes some seconds at most.
func (f *Fleet) Events(only []string, question json.RawMessage, got func(node string, answer json.RawMessage)) error {
	if only == nil {
		return survey(f, "/v1/events", question, got)
	}
	among := f.alive()
	for node := range among {
		if !slices.Contains(only, node) {
			delete(among, node)
		}
	}
	return surveyOf(f, among, "/v1/events", question, got)
}

// sayViews has the leader tell when the view of a pool is another: what it returns writes
// the log, and is called without mu. It is called with mu held itself.
func (f *Fleet) sayViews() (say func()) {
	say = func() {}
	if f.leader == nil {
		f.views = nil
		return say
	}
	before := f.views
	now := make(map[string]uint64, len(f.table.Pools))
	changed := len(before) != len(f.table.Pools)
	for name, p := range f.table.Pools {
		now[name] = p.Epoch
		changed = changed || before[name] != p.Epoch
	}
	if !changed {
		return say
	}
	f.views = now
	var lines [][]any
	for _, name := range sortedKeys(now) {
		if was, known := before[name]; known && was != now[name] {
			lines = append(lines, []any{name, now[name], viewText(f.table.Pools[name])})
		}
	}
	return func() {
		for _, l := range lines {
			f.log.Info("the view of a pool is another", "event", "view_changed", "pool", l[0], "epoch", l[1], "backends", l[2])
		}
	}
}

// viewText is a view in words: each back end and its state.
func viewText(p *table.Pool) string {
	list := make([]string, 0, len(p.Active.List()))
	for _, b := range p.Active.List() {
		name := nameOf(p, b.ID)
		if is := p.Backends[b.ID]; is == nil || is.Removed {
			name = strings.ReplaceAll(name, "\x00", "#") + "(removed)" // another may have the name
		}
		list = append(list, name+"="+b.State.String())
	}
	return strings.Join(list, " ")
}
