package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"usher.example/balancer"
	"usher.example/cluster"
)

// Move is the order of MovePath and PinPath.
type Move struct {
	Pool string `json:"pool,omitempty"` // empty: the only one
	User string `json:"user"`
	// Backend is where the user is moved and pinned to. Empty: MovePath sends him
	// where his pin or the hash says, PinPath pins him where he is.
	Backend string `json:"backend,omitempty"`
	By      string `json:"by,omitempty"`
	// DryRun: nothing is done, and the answer is a Plan.
	DryRun bool `json:"dry_run,omitempty"`
}

// Unpin is the order of UnpinPath.
type Unpin struct {
	Pool string `json:"pool,omitempty"`
	User string `json:"user"`
	By   string `json:"by,omitempty"`
	// DryRun: nothing is done, and the answer is a Plan.
	DryRun bool `json:"dry_run,omitempty"`
}

// UserKick is the order of UserKickPath.
type UserKick struct {
	User string `json:"user"`
	// DryRun: nothing is done, and the answer is a Plan.
	DryRun bool `json:"dry_run,omitempty"`
}

// UserKicked is the answer of UserKickPath.
type UserKicked struct {
	Kicked int `json:"kicked"` // on all nodes
	// Missing tells of nodes that did not answer: he may still be there.
	Missing []string `json:"missing"`
}

// FleetSession is a session and its node.
type FleetSession struct {
	Node string `json:"node"` // empty: this one, which is in no fleet
	balancer.SessionInfo
}

// UserSessions is the answer of UserSessionsPath.
type UserSessions struct {
	Sessions []FleetSession `json:"sessions"`
	Missing  []string       `json:"missing"` // nodes that did not answer
}

func (s *Server) move(w http.ResponseWriter, r *http.Request) {
	var o Move
	if !order(w, r, &o) {
		return
	}
	s.steer(w, r, "move", moveCode, o, func(ctx context.Context, where cluster.Whereabouts, who string) error {
		if o.Backend == "" {
			return s.o.Fleet.Home(ctx, where.Pool, o.User, who)
		}
		return s.o.Fleet.Move(ctx, where.Pool, o.User, o.Backend, who)
	})
}

func (s *Server) pin(w http.ResponseWriter, r *http.Request) {
	var o Move
	if !order(w, r, &o) {
		return
	}
	s.steer(w, r, "pin", pinCode, o, func(ctx context.Context, where cluster.Whereabouts, who string) error {
		target, there, err := pinTo(o, where)
		if err != nil || there {
			return err
		}
		return s.o.Fleet.Move(ctx, where.Pool, o.User, target, who)
	})
}

func (s *Server) unpin(w http.ResponseWriter, r *http.Request) {
	var o Unpin
	if !order(w, r, &o) {
		return
	}
	s.steer(w, r, "unpin", unpinCode, Move{Pool: o.Pool, User: o.User, By: o.By, DryRun: o.DryRun}, func(ctx context.Context, where cluster.Whereabouts, who string) error {
		if where.Pin == "" {
			return errNoPin
		}
		return s.o.Fleet.Move(ctx, where.Pool, o.User, "", who)
	})
}

// steer finds the user, has him moved and tells how that went.
func (s *Server) steer(w http.ResponseWriter, r *http.Request, what string, code func(error) string, o Move, do func(ctx context.Context, where cluster.Whereabouts, by string) error) {
	who, ok := by(w, o.By)
	if !ok || !named(w, o.User) || o.Backend != "" && !named(w, o.Backend) {
		return
	}
	where, ok := s.whereabouts(w, o.Pool, o.User)
	if !ok {
		return
	}
	if o.DryRun {
		s.rehearse(w, r, what, o, where)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), patience, errPatience)
	defer cancel()
	err := do(ctx, where, who)
	s.o.Log.Info(what, "event", code(err), "pool", where.Pool, "user", o.User, "backend", o.Backend, "by", who, "err", err)
	if errors.Is(err, errNoPin) {
		refuse(w, http.StatusNotFound, err.Error(), "usher user where shows what decides his place")
		return
	}
	s.ordered(w, err, s.backendsHint(where.Pool))
}

// backendsHint says what back ends a pool has.
func (s *Server) backendsHint(pool string) string {
	var names []string
	for _, p := range s.o.Places.Status() {
		for _, b := range p.Backends {
			if p.Name == pool && b.State != "removed" {
				names = append(names, b.Name)
			}
		}
	}
	return "pool " + pool + " has: " + strings.Join(names, ", ")
}

func (s *Server) kickUser(w http.ResponseWriter, r *http.Request) {
	var o UserKick
	if !order(w, r, &o) || !named(w, o.User) {
		return
	}
	if o.DryRun {
		s.plannedKick(w, o.User)
		return
	}
	var n int
	var err error
	if s.o.Fleet != nil {
		n, err = s.o.Fleet.KickAll(o.User, kicked)
	} else {
		n = s.o.Node.KickUser(o.User, kicked)
	}
	s.o.Log.Info("kicked on all nodes", "event", "user_kicked", "user", o.User, "sessions", n, "by", giver(r), "err", err)
	answer(w, UserKicked{n, missing(err)})
}

func (s *Server) userSessions(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r, "user")
	if !ok || !named(w, q.Get("user")) {
		return
	}
	sessions, err := s.sessionsOf(q.Get("user"))
	answer(w, UserSessions{sessions, missing(err)})
}

// sessionsOf lists a user's sessions on all nodes. The error has a line for each node
// whose sessions are missing.
func (s *Server) sessionsOf(user string) ([]FleetSession, error) {
	list := []FleetSession{}
	if s.o.Fleet == nil {
		for _, i := range s.o.Node.Sessions(user) {
			list = append(list, FleetSession{"", i})
		}
		return list, nil
	}
	nodes, err := s.o.Fleet.Sessions(user)
	errs := []error{err}
	for _, n := range nodes {
		var sessions []balancer.SessionInfo
		if err := json.Unmarshal(n.Sessions, &sessions); err != nil {
			errs = append(errs, fmt.Errorf("node %s: its answer is not understood: %w", n.Node, err))
		}
		for _, i := range sessions {
			list = append(list, FleetSession{n.Node, i})
		}
	}
	return list, errors.Join(errs...)
}
