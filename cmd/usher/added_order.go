package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// An adder takes orders to add and remove back ends.
type adder node

// addLock keeps two orders apart: the second sees what the first has done.
const addLock = "backends"

// takenAgain is the time between two looks whether all nodes are so far.
const takenAgain = 50 * time.Millisecond

// addition is an order in the configuration's terms.
func addition(o admin.BackendAdd) config.Addition {
	return config.Addition{
		Pool: o.Pool, Name: o.Backend, Host: o.Host, IMAPPort: o.IMAPPort, POP3Port: o.POP3Port, Weight: o.Weight,
		Sessions: o.Sessions, TLSName: o.TLSName,
	}
}

func objection(status int, next, format string, args ...any) error {
	return &admin.Objection{Status: status, Refusal: admin.Refusal{Message: fmt.Sprintf(format, args...), Next: next}}
}

// TryAdd implements admin.Additions.
func (a *adder) TryAdd(ctx context.Context, o admin.BackendAdd) error {
	_, err := a.mayAdd(ctx, addition(o))
	return err
}

// mayAdd asks all nodes that are there: those that are not look for themselves when they
// are back, before they serve. It returns a definition of the same that is there and not live:
// an order that was not carried out to the end.
func (a *adder) mayAdd(ctx context.Context, want config.Addition) (half *config.Definition, err error) {
	values := a.fleet.Here(config.DefinitionDir).Values
	if text, there := values[want.Key()]; there {
		d, err := config.ParseDefinition(want.Key(), text)
		switch {
		case err != nil:
			return nil, objection(http.StatusConflict, "usher backend remove "+want.Name+" --force takes it away", "there is a definition of that name that is not understood: %v", err)
		case !d.Live && d.Same(want):
			half = &d
		default:
			return nil, objection(http.StatusConflict, "remove it first, or give this one another name", "back end %q was added already, at %s", want.Name, d.Host)
		}
	}
	if half == nil && len(values) >= config.MaxDefinitions {
		return nil, objection(http.StatusConflict, "put some of them into the file of every node, and remove them", "there are %d back ends that were added by command, and no more are possible", len(values))
	}
	var files, bad []string
	_, err = a.fleet.Ask(ctx, tryTopic, want, func(r cluster.Reply) {
		var t tried
		if err := json.Unmarshal(r.Data, &t); err != nil {
			t.Problem = "its answer is not understood"
		}
		switch {
		case t.File:
			files = append(files, r.Node)
		case t.Problem != "":
			bad = append(bad, fmt.Sprintf("node %s cannot use it: %s", r.Node, t.Problem))
		}
	})
	slices.Sort(files)
	slices.Sort(bad)
	switch {
	case len(files) > 0:
		return nil, objection(http.StatusConflict, "what the file has is changed there; give this one another name", "back end %q is in the configuration of %s", want.Name, strings.Join(files, ", "))
	case len(bad) > 0:
		return nil, objection(http.StatusBadRequest, "put that right, and say it again; nothing was changed", "%s", strings.Join(bad, "; "))
	}
	if err != nil {
		return nil, objection(http.StatusServiceUnavailable, "try again when they answer; nothing was changed", "whether all nodes can use it is not known: %v", err)
	}
	return half, nil
}

// Add implements admin.Additions.
func (a *adder) Add(ctx context.Context, o admin.BackendAdd) error {
	return a.locked(ctx, func() error {
		want := addition(o)
		half, err := a.mayAdd(ctx, want)
		if err != nil {
			return err
		}
		d := config.Definition{Addition: want, By: o.By, At: time.Now().Unix()}
		if half != nil {
			d = *half
		}
		if err := a.put(ctx, d); err != nil {
			return err
		}
		if err := a.taken(ctx, d); err != nil {
			back := a.fleet.RemoveUnder(context.WithoutCancel(ctx), addLock, d.Key())
			if back != nil {
				return fmt.Errorf("%w; and it could not be taken back: %w; usher backend remove %s does that", err, back, d.Name)
			}
			return objection(http.StatusServiceUnavailable, "nothing was changed; try again", "not every node has made ready for it: %v", err)
		}
		d.Live = true
		if err := a.put(ctx, d); err != nil {
			return err
		}
		return a.fleet.Defined(ctx, d.Pool, d.Name, true)
	})
}

// locked does something with nobody else adding or removing meanwhile, and with all that
// was done before.
func (a *adder) locked(ctx context.Context, do func() error) error {
	if err := a.fleet.Lock(ctx, addLock); err != nil {
		return err
	}
	err := a.fleet.Fresh(ctx)
	if err == nil {
		err = do()
	}
	if e := a.fleet.Unlock(context.WithoutCancel(ctx), addLock); e != nil {
		a.log.Debug("unlock after an order about a back end", "err", e)
	}
	return err
}

func (a *adder) put(ctx context.Context, d config.Definition) error {
	return a.fleet.PutUnder(ctx, addLock, d.Key(), d.Format())
}

// taken waits until every node that is there has made ready for a back end.
func (a *adder) taken(ctx context.Context, d config.Definition) error {
	want := string(d.Format())
	for {
		var lacking []string
		_, err := a.fleet.Ask(ctx, addedTopic, struct{}{}, func(r cluster.Reply) {
			var u inUse
			if json.Unmarshal(r.Data, &u) != nil || u.Taken[d.Key()] != want {
				lacking = append(lacking, "node "+r.Node+": "+cmp.Or(u.Problems[d.Key()], "not yet"))
			}
		})
		if err == nil && len(lacking) == 0 {
			return nil
		}
		select {
		case <-time.After(takenAgain):
		case <-ctx.Done():
			slices.Sort(lacking)
			return fmt.Errorf("%s: %w", strings.Join(lacking, "; "), errors.Join(err, context.Cause(ctx)))
		}
	}
}

// TryRemove implements admin.Additions.
func (a *adder) TryRemove(ctx context.Context, o admin.BackendRemove) error {
	_, err := a.mayRemove(ctx, o)
	return err
}

// mayRemove finds the definition; nil if it is there and not understood.
func (a *adder) mayRemove(ctx context.Context, o admin.BackendRemove) (*config.Definition, error) {
	values := a.fleet.Here(config.DefinitionDir).Values
	key := config.Addition{Pool: o.Pool, Name: o.Backend}.Key()
	if text, there := values[key]; there {
		d, err := config.ParseDefinition(key, text)
		if err == nil {
			return &d, nil
		}
		if o.Force {
			return nil, nil //nolint:nilnil // it says nothing
		}
		return nil, objection(http.StatusConflict, "--force takes it away", "its definition is not understood: %v", err)
	}
	var files []string
	_ = a.fleet.AskAll(ctx, tryTopic, config.Addition{Pool: o.Pool, Name: o.Backend}, func(r cluster.Reply) {
		var t tried
		if json.Unmarshal(r.Data, &t) == nil && t.File {
			files = append(files, r.Node)
		}
	})
	if slices.Sort(files); len(files) > 0 {
		return nil, objection(http.StatusConflict, "take it out of the file of every node and reload them, the leader first; to have its users gone before, usher backend evacuate "+o.Backend+" --wait",
			"back end %q was not added by command: it is in the configuration of %s", o.Backend, strings.Join(files, ", "))
	}
	return nil, objection(http.StatusNotFound, "usher backend list shows those there are", "no back end %q was added by command", o.Backend)
}

// Remove implements admin.Additions.
func (a *adder) Remove(ctx context.Context, o admin.BackendRemove) error {
	return a.locked(ctx, func() error {
		d, err := a.mayRemove(ctx, o)
		if err != nil {
			return err
		}
		key := config.Addition{Pool: o.Pool, Name: o.Backend}.Key()
		if d != nil && d.Live && !a.inFile(ctx, key) {
			d.Live = false
			if err := a.put(ctx, *d); err != nil {
				return err
			}
			if err := a.fleet.Defined(ctx, d.Pool, d.Name, false); err != nil {
				return err
			}
		}
		return a.fleet.RemoveUnder(ctx, addLock, key)
	})
}

// inFile says whether the file of any node has the back end as well: then the fleet goes
// on with it, and nobody is to wait for its end.
func (a *adder) inFile(ctx context.Context, key string) bool {
	has := false
	_ = a.fleet.AskAll(ctx, addedTopic, struct{}{}, func(r cluster.Reply) {
		var u inUse
		has = has || json.Unmarshal(r.Data, &u) == nil && slices.Contains(u.File, key)
	})
	return has
}

// Additions implements admin.Additions.
func (a *adder) Additions(ctx context.Context) ([]admin.Addition, error) {
	here := a.fleet.Here(config.DefinitionDir)
	values, unopened := here.Values, here.Unopened
	if len(values)+len(unopened) == 0 {
		return nil, nil
	}
	list := make(map[string]*admin.Addition)
	for key := range unopened {
		list[key] = unread(key)
	}
	for key, text := range values {
		d, err := config.ParseDefinition(key, text)
		if err != nil {
			list[key] = unread(key)
			continue
		}
		list[key] = &admin.Addition{Pool: d.Pool, Backend: d.Name, Host: d.Host, IMAPPort: d.IMAPPort, POP3Port: d.POP3Port, By: d.By, At: d.At, Live: d.Live}
	}
	err := a.fleet.AskAll(ctx, addedTopic, struct{}{}, func(r cluster.Reply) {
		var u inUse
		if json.Unmarshal(r.Data, &u) != nil {
			return
		}
		for key, problem := range u.Problems {
			if e := list[key]; e != nil {
				if e.Problems == nil {
					e.Problems = make(map[string]string)
				}
				e.Problems[r.Node] = problem
			}
		}
		for _, key := range u.File {
			if e := list[key]; e != nil {
				e.File = true
			}
		}
		for key, how := range u.Differ {
			if e := list[key]; e != nil {
				if e.Differ == nil {
					e.Differ = make(map[string]string)
				}
				e.Differ[r.Node] = how
			}
		}
	})
	out := make([]admin.Addition, 0, len(list))
	for _, key := range sorted(list) {
		out = append(out, *list[key])
	}
	return out, err
}

// unread is a definition of which its key only is known.
func unread(key string) *admin.Addition {
	pool, name, _ := strings.Cut(short(key), "/")
	return &admin.Addition{Pool: pool, Backend: name}
}
