package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"usher.example/cluster"
	"usher.example/cluster/place"
)

// DryRun is part of every order that moves people or closes sessions.
type DryRun struct {
	// DryRun: the order is not carried out, and the answer is a Plan, or the refusal
	// that the order would meet now.
	DryRun bool `json:"dry_run,omitempty"`
	// Sample is how many of the users are to be named in it, at most MaxSample.
	Sample int `json:"sample,omitempty"`
}

// MaxSample bounds the users that a plan names: each costs a look at all sessions.
const MaxSample = 1000

// A Plan is what an order would come to, if it were given now.
type Plan struct {
	DryRun bool   `json:"dry_run"` // always true: nothing was done
	Order  string `json:"order"`   // in words
	Pool   string `json:"pool,omitempty"`
	// Users and Sessions are those that the order is about: of them there are others
	// who stay as they are. A user who is on several nodes is one.
	Users    int `json:"users"`
	Sessions int `json:"sessions"`
	// Stay are users of the pool for whom nothing changes.
	Stay int `json:"users_who_stay"`
	// Closed are sessions that are closed, and Seconds about how long it takes until the
	// last is and its user may log in again.
	Closed  int     `json:"sessions_closed"`
	Seconds float64 `json:"seconds"`
	// Flows are from where to where, and how.
	Flows []cluster.Flow `json:"flows"`
	// Notes are what should be known before the order is given.
	Notes []string `json:"notes"`
	// Named are some of the users, if a sample was asked for.
	Named []string `json:"named,omitempty"`
	// Missing tells of nodes whose users are not in the counts.
	Missing []string `json:"missing"`
}

// FleetPlans is what a fleet is asked about orders that are not given. Its methods ask all
// nodes, and change nothing.
type FleetPlans interface {
	// Plan and PlanMove return an error as the order would, and one that names the nodes
	// that did not answer.
	Plan(ctx context.Context, r cluster.PlanRequest) (o cluster.Outlook, missing, err error)
	PlanMove(ctx context.Context, pool, user, target string, home bool) (u cluster.UserPlan, missing, err error)
}

// sampled tells whether a sample is one that could be.
func sampled(w http.ResponseWriter, d DryRun) bool {
	if d.Sample >= 0 && d.Sample <= MaxSample && (d.DryRun || d.Sample == 0) {
		return true
	}
	refuse(w, http.StatusBadRequest, "no sample that could be", fmt.Sprintf("say at most %d, together with dry_run", MaxSample))
	return false
}

// planned answers with the plan of an order about a back end.
func (s *Server) planned(w http.ResponseWriter, r *http.Request, d DryRun, what string, q cluster.PlanRequest, hint string) {
	o, missed, err := s.o.Fleet.Plan(r.Context(), q)
	if err != nil {
		s.ordered(w, err, hint)
		return
	}
	p := newPlan(what, q.Pool, o, missed)
	s.name(r.Context(), &p, d, o.Keys)
	answer(w, p)
}

// newPlan tells an outlook.
func newPlan(what, pool string, o cluster.Outlook, missed error) Plan {
	p := Plan{DryRun: true, Order: what, Pool: pool, Flows: o.Flows, Notes: []string{}, Missing: missing(missed)}
	if p.Flows == nil {
		p.Flows = []cluster.Flow{}
	}
	p.Users, p.Sessions = o.Has(cluster.FlowLater, cluster.FlowLogin, cluster.FlowEvacuated, cluster.FlowClosed, cluster.FlowRefused)
	p.Stay, _ = o.Has(cluster.FlowStays)
	closed, closes := o.Has(cluster.FlowClosed)
	evacuated, evacuates := o.Has(cluster.FlowEvacuated)
	p.Closed = closes + evacuates
	if closed > 0 {
		p.Seconds = o.KickDelay.Seconds()
	}
	if evacuated > 0 && o.Rate > 0 {
		p.Seconds = max(p.Seconds, float64(evacuated)/float64(o.Rate)+o.KickDelay.Seconds())
	}
	later, _ := o.Has(cluster.FlowLater)
	if later > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("later: sessions go on, and their users go elsewhere when they have ended and %v have passed", o.Retention))
	}
	if n, _ := o.Has(cluster.FlowLogin); n > 0 {
		p.Notes = append(p.Notes, "next_login: sessions go on until their user logs in again, which closes them first")
	}
	lost := 0
	for _, fl := range o.Flows {
		if fl.To == "" {
			lost += fl.Users
		}
	}
	if lost > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d users would have no back end that serves them: their logins would be answered that it is unavailable", lost))
	}
	if o.Nobody {
		p.Notes = append(p.Notes, "no back end of the pool would take new users")
	}
	if o.Storage == place.Local {
		p.Notes = append(p.Notes, "storage is local: nobody is served but by his own back end, drain and evacuate have no effect, and whose place changes needs his mail there first")
	}
	if o.Changing {
		p.Notes = append(p.Notes, "the pool is being changed by another order at this moment; this is as if that were done")
	}
	return p
}

// name names some of the users of a plan.
func (s *Server) name(ctx context.Context, p *Plan, d DryRun, keys map[place.Key]int) {
	if d.Sample == 0 || len(keys) == 0 || s.o.Names == nil {
		return
	}
	some := slices.Sorted(maps.Keys(keys))
	some = some[:min(d.Sample, len(some))]
	names, err := s.o.Names(ctx, p.Pool, some)
	p.Named = names
	for _, m := range missing(err) {
		if !slices.Contains(p.Missing, m) {
			p.Missing = append(p.Missing, m)
		}
	}
}

// plannedMove answers with the plan of a move of one user.
func (s *Server) plannedMove(w http.ResponseWriter, r *http.Request, what, pool, user, target string, home bool, hint string) {
	u, missed, err := s.o.Fleet.PlanMove(r.Context(), pool, user, target, home)
	if err != nil {
		s.ordered(w, err, hint)
		return
	}
	p := newPlan(what+" "+user, pool, u.Outlook, missed)
	p.Named = []string{u.User}
	if len(u.Flows) == 0 {
		p.Notes = append(p.Notes, "he has no session; his next login goes to "+orNobody(u.To))
	}
	answer(w, p)
}

// pinTo is where an order to pin means, and whether the user is pinned there already.
func pinTo(o Move, where cluster.Whereabouts) (target string, there bool, err error) {
	if target = o.Backend; target == "" {
		target = where.Place
	}
	if target == "" {
		return "", false, fmt.Errorf("he has no place to be pinned to: %s", where.Error)
	}
	return target, target == where.Pin && !where.File, nil // a file's becomes the administrator's
}

// rehearse answers an order about a user with its plan, or as the order would be.
func (s *Server) rehearse(w http.ResponseWriter, r *http.Request, what string, o Move, where cluster.Whereabouts) {
	target := o.Backend
	switch what {
	case "pin":
		var there bool
		var err error
		if target, there, err = pinTo(o, where); err != nil {
			s.ordered(w, err, s.backendsHint(where.Pool))
			return
		}
		if there {
			answer(w, unmoved("user pin", where.Pool, where.User, "he is pinned there already"))
			return
		}
	case "unpin":
		if where.Pin == "" {
			refuse(w, http.StatusNotFound, NoPin, "usher user where shows what decides his place")
			return
		}
	}
	s.plannedMove(w, r, "user "+what, where.Pool, o.User, target, what == "move" && target == "", s.backendsHint(where.Pool))
}

func orNobody(backend string) string {
	if backend == "" {
		return "nobody"
	}
	return backend
}

// unmoved is the plan of an order that leaves a user where he is.
func unmoved(what, pool, user, why string) Plan {
	return Plan{DryRun: true, Order: what + " " + user, Pool: pool, Flows: []cluster.Flow{}, Notes: []string{why}, Named: []string{user}, Missing: []string{}}
}

// plannedKick answers with the plan of a kick on all nodes.
func (s *Server) plannedKick(w http.ResponseWriter, user string) {
	list, err := s.sessionsOf(user)
	p := Plan{DryRun: true, Order: "user kick " + user, Flows: []cluster.Flow{}, Notes: []string{}, Missing: missing(err), Sessions: len(list), Closed: len(list)}
	at := make(map[string]int)
	for _, i := range list {
		at[i.Backend]++
	}
	if len(list) > 0 {
		p.Users, p.Named = 1, []string{user}
		p.Notes = append(p.Notes, "mail clients connect again by themselves")
	}
	for _, b := range slices.Sorted(maps.Keys(at)) {
		p.Flows = append(p.Flows, cluster.Flow{From: b, To: b, How: cluster.FlowClosed, Sessions: at[b]})
	}
	if len(p.Flows) > 0 {
		p.Flows[0].Users = 1
	}
	answer(w, p)
}

// plannedDrain answers with the plan of a node's drain, or of its end.
func (s *Server) plannedDrain(w http.ResponseWriter, o NodeDrain) {
	list, err := s.o.Fleet.Nodes()
	verb := "drain"
	if o.Undo {
		verb = "resume"
	}
	for _, n := range list {
		if n.Node != o.Node {
			continue
		}
		p := Plan{DryRun: true, Order: "node " + verb + " " + o.Node, Flows: []cluster.Flow{}, Notes: []string{}, Missing: missing(err)}
		switch {
		case n.Role == "witness":
			refuse(w, http.StatusNotFound, fmt.Sprintf("node %q only votes", o.Node), s.nodesHint())
			return
		case !n.Answered:
			refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("node %q: %v", o.Node, cluster.ErrAbsent), "try again when it is back; "+s.nodesHint())
			return
		case n.Drained == !o.Undo:
			p.Notes = append(p.Notes, "it is so already")
		case o.Undo:
			p.Notes = append(p.Notes, "its /readyz says again that it takes clients")
		default:
			p.Users, p.Sessions = n.Users, n.Holds
			p.Notes = append(p.Notes, "no session is closed: its /readyz says that it is drained, and whoever spreads clients sends it no new ones")
		}
		answer(w, p)
		return
	}
	refuse(w, http.StatusNotFound, fmt.Sprintf("there is no node %q", o.Node), s.nodesHint())
}
