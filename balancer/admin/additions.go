package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"usher.example/cluster"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// Paths of back ends that come and go by command.
const (
	BackendAddPath    = "/v1/backend/add"
	BackendRemovePath = "/v1/backend/remove"
)

// BackendAdd is the order of BackendAddPath. How the back end is spoken to (TLS, the
// client's address, checks) is the pool's.
type BackendAdd struct {
	Pool     string `json:"pool,omitempty"` // empty: the only one
	Backend  string `json:"backend"`
	Host     string `json:"host"`
	IMAPPort int    `json:"imap_port,omitempty"` // 0: not served
	POP3Port int    `json:"pop3_port,omitempty"`
	Weight   *int   `json:"weight,omitempty"`   // left out: the default of the configuration
	Sessions int    `json:"sessions,omitempty"` // 0: no limit
	TLSName  string `json:"tls_name,omitempty"` // empty: the pool's, or the host
	By       string `json:"by,omitempty"`
	DryRun
}

// BackendRemove is the order of BackendRemovePath.
type BackendRemove struct {
	Pool    string `json:"pool,omitempty"` // empty: the only one that has it
	Backend string `json:"backend"`
	Force   bool   `json:"force,omitempty"` // also with users who are live there
	By      string `json:"by,omitempty"`
	DryRun
}

// An Addition is a back end that was added by command, as the fleet keeps it.
type Addition struct {
	Pool     string `json:"pool"`
	Backend  string `json:"backend"`
	Host     string `json:"host,omitempty"`
	IMAPPort int    `json:"imap_port,omitempty"`
	POP3Port int    `json:"pop3_port,omitempty"`
	By       string `json:"by,omitempty"`
	At       int64  `json:"at,omitempty"` // when, in Unix seconds
	// Live: users may be placed there. Else its addition or removal is not done: give
	// that order again.
	Live bool `json:"live"`
	// File: the file has it too, and comes first.
	File bool `json:"file,omitempty"`
	// Differ says by node how its file has it otherwise than it was added.
	Differ map[string]string `json:"differ,omitempty"`
	// Problems say by node why it is not used there.
	Problems map[string]string `json:"problems,omitempty"`
}

// Additions is what takes orders about back ends that come and go by command. Its methods
// are called by many goroutines, and ask all nodes. An error that is an *Objection is an
// answer; so are those of the fleet.
type Additions interface {
	// Additions lists what the fleet has, by pool and name. The error names nodes that
	// did not answer.
	Additions(ctx context.Context) ([]Addition, error)
	// TryAdd finds everything for which Add would refuse, and does nothing.
	TryAdd(ctx context.Context, o BackendAdd) error
	// Add returns when every node can reach it and users may be placed there.
	Add(ctx context.Context, o BackendAdd) error
	// TryRemove finds whether the back end was added, and does nothing.
	TryRemove(ctx context.Context, o BackendRemove) error
	Remove(ctx context.Context, o BackendRemove) error
}

// An Objection is why an order is not taken, and the status that says so.
type Objection struct {
	Status int
	Refusal
}

// Error says why, and what to do.
func (o *Objection) Error() string { return o.Refusal.Error() }

func (s *Server) additionRoutes(mux *router) {
	mux.Handle(BackendAddPath, only(http.MethodPost, s.inFleet(s.addBackend)))
	mux.Handle(BackendRemovePath, only(http.MethodPost, s.inFleet(s.removeBackend)))
}

func (s *Server) addBackend(w http.ResponseWriter, r *http.Request) {
	var o BackendAdd
	if !order(w, r, &o) || !thing(w, "backend", o.Backend) || !thing(w, "host", o.Host) || !s.takesAdditions(w) {
		return
	}
	who, ok := by(w, o.By)
	if !ok || !sampled(w, o.DryRun) {
		return
	}
	o.By = who
	pool, hint, ok := s.poolOf(w, o.Pool)
	if !ok {
		return
	}
	o.Pool = pool
	if o.DryRun.DryRun {
		if err := s.o.Additions.TryAdd(r.Context(), o); err != nil {
			s.objected(w, err, hint)
			return
		}
		weight := DefaultWeight
		if o.Weight != nil {
			weight = *o.Weight
		}
		s.planned(w, r, o.DryRun, "backend add "+o.Backend, cluster.PlanRequest{Pool: pool, Add: &place.Backend{Name: o.Backend, Weight: weight}}, hint)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), patience, errPatience)
	defer cancel()
	err := s.o.Additions.Add(ctx, o)
	s.o.Log.Info("addition of a back end", "event", "backend_add_ordered", "pool", pool, "backend", o.Backend, "host", o.Host, "by", who, "err", err)
	s.objected(w, err, hint)
}

// DefaultWeight is the weight of a back end that says none.
const DefaultWeight = 100

func (s *Server) removeBackend(w http.ResponseWriter, r *http.Request) {
	var o BackendRemove
	if !order(w, r, &o) || !thing(w, "backend", o.Backend) || !s.takesAdditions(w) {
		return
	}
	who, ok := by(w, o.By)
	if !ok || !sampled(w, o.DryRun) {
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), patience, errPatience)
	defer cancel()
	list, missing := s.o.Fleet.Backends()
	if o.Pool == "" {
		var pools []string
		for _, b := range list {
			if b.Name == o.Backend && b.State != "removed" {
				pools = append(pools, b.Pool)
			}
		}
		if len(pools) == 0 { // an order that was not carried out has left a definition only
			pools = s.addedTo(ctx, o.Backend)
		}
		if len(pools) > 1 {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("back end %q is in several pools", o.Backend), "say the pool")
			return
		}
		if len(pools) == 1 {
			o.Pool = pools[0]
		} else if o.Pool, _, ok = s.poolOf(w, ""); !ok {
			return
		}
	}
	o.By = who
	err := s.o.Additions.TryRemove(ctx, o)
	if err == nil {
		err = busy(list, missing, o)
	}
	if o.DryRun.DryRun && err == nil {
		s.planned(w, r, o.DryRun, "backend remove "+o.Backend, cluster.PlanRequest{Pool: o.Pool, Remove: o.Backend}, "")
		return
	}
	if err == nil {
		err = s.o.Additions.Remove(ctx, o)
		s.o.Log.Info("removal of a back end", "event", "backend_remove_ordered", "pool", o.Pool, "backend", o.Backend, "force", o.Force, "by", who, "err", err)
	}
	s.objected(w, err, "usher backend list shows those there are")
}

// addedTo are the pools for which there is a definition of a back end, whatever has
// become of it.
func (s *Server) addedTo(ctx context.Context, backend string) (pools []string) {
	list, _ := s.o.Additions.Additions(ctx) // that nodes do not answer is no matter: the definitions are all here
	for _, a := range list {
		if a.Backend == backend {
			pools = append(pools, a.Pool)
		}
	}
	return pools
}

// busy refuses to remove a back end that has users, or may have some: they would leave it
// with their next login, all at any time.
func busy(list []cluster.FleetBackend, missing error, o BackendRemove) error {
	i := slices.IndexFunc(list, func(b cluster.FleetBackend) bool {
		return b.Pool == o.Pool && b.Name == o.Backend && b.State != "removed"
	})
	if o.Force || i < 0 || table.Admin(list[i].Admin) != table.Active {
		return nil
	}
	next := "usher backend evacuate " + o.Backend + " --wait, then remove it; or --force: whoever is there leaves it at his next login"
	switch b := list[i]; {
	case b.Users > 0:
		return &Objection{http.StatusConflict, Refusal{Message: fmt.Sprintf("back end %s has %d users", b.Name, b.Users), Next: next}}
	case missing != nil:
		return &Objection{http.StatusConflict, Refusal{Message: "whether it has users is not known: " + missing.Error(), Next: next}}
	}
	return nil
}

func (s *Server) takesAdditions(w http.ResponseWriter) bool {
	if s.o.Additions == nil {
		refuse(w, http.StatusNotImplemented, "this node has no back ends", "ask one that serves: a witness only votes")
	}
	return s.o.Additions != nil
}

// objected answers an order that may have been objected to.
func (s *Server) objected(w http.ResponseWriter, err error, hint string) {
	var o *Objection
	if errors.As(err, &o) {
		write(w, o.Status, o.Refusal)
		return
	}
	s.ordered(w, err, hint)
}

// listAdditions lists them, and says in the rows where each back end is from. What is
// missing of it is told.
func (s *Server) listAdditions(ctx context.Context, rows []cluster.FleetBackend) (list []Addition, missed []string) {
	if s.o.Additions == nil {
		return []Addition{}, nil
	}
	list, err := s.o.Additions.Additions(ctx)
	for i := range rows {
		rows[i].From = cluster.FromFile
		if slices.ContainsFunc(list, func(a Addition) bool { return a.Pool == rows[i].Pool && a.Backend == rows[i].Name && !a.File }) {
			rows[i].From = cluster.FromCommand
		}
	}
	if list == nil {
		list = []Addition{}
	}
	if err != nil {
		missed = missing(err)
	}
	return list, missed
}
