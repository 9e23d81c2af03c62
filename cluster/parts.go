package cluster

import (
	"encoding/json"
	"net/http"
)

// A Part is what a node shows of itself to whoever looks at the fleet through
// another one.
type Part struct {
	// Drained: an administrator wants it to get no new clients.
	Drained bool `json:"drained,omitempty"`
	// Shown is what Present was given on that node: it came from the network, and
	// need not be what this node would have said.
	Shown json.RawMessage `json:"shown,omitempty"`
}

// Present says what this node shows of itself when it is asked for its part. The
// function is called by many goroutines and must not wait; it returns JSON, of some
// hundred KiB at most, without users' names.
func (f *Fleet) Present(part func() ([]byte, error)) { f.shown.Store(&part) }

func (f *Fleet) part() (Part, error) {
	f.mu.Lock()
	p := Part{Drained: f.drained}
	f.mu.Unlock()
	if shown := f.shown.Load(); shown != nil {
		b, err := (*shown)()
		if err != nil {
			return p, err
		}
		p.Shown = b
	}
	return p, nil
}

// showing answers nodes that somebody looks at the fleet through.
func (f *Fleet) showing(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/part", func(w http.ResponseWriter, _ *http.Request) {
		p, err := f.part()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, p)
	})
}

// Parts asks every node that serves for its part, this one included. It takes some
// seconds at most; who has not answered by then is not in it, and the error names
// him. One that only votes has no part.
func (f *Fleet) Parts() (map[string]Part, error) {
	own, err := f.part()
	if err != nil {
		return nil, err
	}
	all := make(map[string]Part)
	if !f.o.Witness {
		all[f.o.Node] = own
	}
	err = survey(f, "/v1/part", struct{}{}, func(node string, p Part) { all[node] = p })
	return all, err
}

// Placed lists the back ends of all pools by the table alone: nobody is asked, and
// the counts are of this node.
func (f *Fleet) Placed() []FleetBackend {
	f.mu.Lock()
	defer f.mu.Unlock()
	users, holds := f.node.Load()
	return f.listed(users, holds)
}
