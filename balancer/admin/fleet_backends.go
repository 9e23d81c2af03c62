package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"usher.example/cluster"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// Backends is the answer of BackendsPath.
type Backends struct {
	Backends []cluster.FleetBackend `json:"backends"`
	// Additions are those that were added by command.
	Additions []Addition `json:"additions"`
	// Missing tells of nodes whose users are not in the counts.
	Missing []string `json:"missing"`
}

// BackendState is the order of BackendStatePath.
type BackendState struct {
	Pool    string `json:"pool,omitempty"` // empty: the one pool that has the back end
	Backend string `json:"backend"`
	State   string `json:"state"` // active, drain, evacuate or down
	By      string `json:"by,omitempty"`
	DryRun
}

// Weight is the order of WeightPath.
type Weight struct {
	Pool    string `json:"pool,omitempty"` // as in BackendState
	Backend string `json:"backend"`
	Weight  *int   `json:"weight"` // below zero: the configuration's
	By      string `json:"by,omitempty"`
	DryRun
}

func (s *Server) backends(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	list, err := s.listBackends()
	added, missed := s.listAdditions(r.Context(), list)
	answer(w, Backends{list, added, append(missing(err), missed...)})
}

// listBackends lists those of the fleet, or of this node if it is in none.
func (s *Server) listBackends() ([]cluster.FleetBackend, error) {
	if s.o.Fleet != nil {
		return s.o.Fleet.Backends()
	}
	list := []cluster.FleetBackend{}
	for _, p := range s.o.Places.Status() {
		for _, b := range p.Backends {
			list = append(list, cluster.FleetBackend{
				Pool: p.Name, Name: b.Name, Weight: b.Weight, Admin: b.Admin.String(), Up: b.Up, State: b.State, Users: b.Users, Holds: b.Holds,
			})
		}
	}
	return list, nil
}

func (s *Server) setState(w http.ResponseWriter, r *http.Request) {
	var o BackendState
	if !order(w, r, &o) || !thing(w, "backend", o.Backend) {
		return
	}
	state := table.Admin(o.State)
	if !state.Known() {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("state %q is none", o.State), "say active, drain, evacuate or down")
		return
	}
	s.adjust(w, r, o.Pool, o.Backend, o.By, o.State, o.DryRun, cluster.PlanRequest{Admin: &state}, func(ctx context.Context, pool, who string) error {
		return s.o.Fleet.SetAdmin(ctx, pool, o.Backend, state, who)
	})
}

func (s *Server) setWeight(w http.ResponseWriter, r *http.Request) {
	var o Weight
	if !order(w, r, &o) || !thing(w, "backend", o.Backend) {
		return
	}
	if o.Weight == nil || *o.Weight > place.MaxWeight {
		refuse(w, http.StatusBadRequest, "no weight that could be", fmt.Sprintf("say a number up to %d; below zero, the configuration's holds again", place.MaxWeight))
		return
	}
	s.adjust(w, r, o.Pool, o.Backend, o.By, fmt.Sprintf("weight %d", *o.Weight), o.DryRun, cluster.PlanRequest{Weight: o.Weight}, func(ctx context.Context, pool, who string) error {
		return s.o.Fleet.SetWeight(ctx, pool, o.Backend, *o.Weight, who)
	})
}

// adjust finds the back end, has it changed and tells how that went.
func (s *Server) adjust(w http.ResponseWriter, r *http.Request, pool, backend, by0, what string, dry DryRun, plan cluster.PlanRequest, change func(ctx context.Context, pool, by string) error) {
	who, ok := by(w, by0)
	if !ok || !sampled(w, dry) {
		return
	}
	list, _ := s.o.Fleet.Backends() // without the counts of who did not answer
	var names, pools []string
	for _, b := range list {
		if b.State == "removed" {
			continue
		}
		names = append(names, b.Pool+"/"+b.Name)
		if b.Name == backend && (pool == "" || b.Pool == pool) {
			pools = append(pools, b.Pool)
		}
	}
	slices.Sort(names)
	hint := "there are: " + strings.Join(names, ", ")
	switch {
	case len(pools) == 0:
		refuse(w, http.StatusNotFound, fmt.Sprintf("no back end %q", backend), hint)
		return
	case len(pools) > 1:
		refuse(w, http.StatusBadRequest, fmt.Sprintf("back end %q is in several pools", backend), "say the pool: "+strings.Join(pools, ", "))
		return
	}
	if dry.DryRun {
		plan.Pool, plan.Backend = pools[0], backend
		s.planned(w, r, dry, "backend "+backend+": "+what, plan, hint)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), patience, errPatience)
	defer cancel()
	err := change(ctx, pools[0], who)
	s.o.Log.Info("change of a back end", "event", outcomeOf(err, "backend_changed", "backend_change_failed"), "pool", pools[0], "backend", backend, "to", what, "by", who, "err", err)
	s.ordered(w, err, hint)
}
