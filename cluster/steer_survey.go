package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"usher.example/cluster/member"
	"usher.example/cluster/table"
)

// A load is what a node has to do with users.
type load struct {
	// Users and Holds are by the fleet's number of a back end.
	Users map[uint16]int `json:"users"`
	Holds map[uint16]int `json:"holds"`
	// Drained: it is to get no new clients.
	Drained bool `json:"drained,omitempty"`
	// Config is what the node's configuration says.
	Config *member.Config `json:"config,omitempty"`
}

func (f *Fleet) load() load {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.o.config()
	l := load{Drained: f.drained, Config: &c}
	l.Users, l.Holds = f.node.Load()
	return l
}

// An order to drain a node, or to end that.
type drain struct {
	On bool `json:"on"`
}

// steering answers what other nodes ask on behalf of administrators.
func (f *Fleet) steering(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/load", func(w http.ResponseWriter, _ *http.Request) { reply(w, f.load()) })
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		var d drain
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&d) != nil {
			http.Error(w, "no order to drain", http.StatusBadRequest)
			return
		}
		f.setDrained(d.On)
		w.WriteHeader(http.StatusNoContent)
	})
}

// survey asks every other node that serves, at the same time, and calls got for
// each answer, one at a time. The error names the nodes that did not answer: those
// that were asked in vain, and those that are counted and cannot be seen.
func survey[A any](f *Fleet, path string, question any, got func(node string, answer A)) error {
	alive := f.alive()
	errs := []error{surveyOf(f, alive, path, question, got)}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range sortedKeys(f.table.Members) {
		if _, there := alive[name]; !there && name != f.o.Node && f.table.Members[name].Counted {
			errs = append(errs, fmt.Errorf("node %s: it cannot be seen, and may have users", name))
		}
	}
	return errors.Join(errs...)
}

// surveyOf is survey of some nodes. The error names those that were asked in vain.
func surveyOf[A any](f *Fleet, among map[string]peer, path string, question any, got func(node string, answer A)) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for name, p := range among {
		if name == f.o.Node || p.Witness {
			continue
		}
		wg.Go(func() {
			var answer A
			err := f.send(p.address, path, question, &answer)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("node %s: %w", name, err))
				return
			}
			got(name, answer)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// loads asks every node that serves.
func (f *Fleet) loads() (map[string]load, error) {
	all := map[string]load{f.o.Node: f.load()}
	err := survey(f, "/v1/load", struct{}{}, func(node string, l load) { all[node] = l })
	return all, err
}

// MissingVoters names the voters that this node does not see.
func (f *Fleet) MissingVoters() []string {
	if f.gossip == nil {
		return nil
	}
	alive := f.alive()
	var missing []string
	for _, v := range f.o.Voters {
		if _, there := alive[v]; !there {
			missing = append(missing, v)
		}
	}
	return missing
}

// UserSessions are the sessions of a user on one node, as its Local.Sessions says.
type UserSessions struct {
	Node     string
	Sessions json.RawMessage
}

// Sessions lists a user's sessions on all nodes, this one first. The error names
// nodes that did not answer; the list is of the others.
func (f *Fleet) Sessions(user string) ([]UserSessions, error) {
	own := json.RawMessage("[]")
	if f.o.Local != nil {
		b, err := f.o.Local.Sessions(user)
		if err != nil {
			return nil, err
		}
		own = b
	}
	answers := make(map[string]json.RawMessage)
	err := survey(f, "/v1/sessions", asked{User: user}, func(node string, b json.RawMessage) { answers[node] = b })
	list := []UserSessions{{f.o.Node, own}}
	for _, node := range sortedKeys(answers) {
		list = append(list, UserSessions{node, answers[node]})
	}
	return list, err
}

// Home takes a user off the back end where he is: he goes where his pin or the
// hash says. It returns when he may log in again.
func (f *Fleet) Home(ctx context.Context, pool, user, by string) error {
	key, keys, name, ok := f.key(pool, user)
	if !ok {
		return ErrIsolated
	}
	if err := f.propose(table.Start{Pool: pool, Key: key, Keys: keys, User: name, Pin: table.PinKeep, By: by}); err != nil {
		return err
	}
	return f.wait(ctx, "the move", func() bool { return f.table.Moving(key) == nil })
}
