package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"usher.example/balancer"
)

// FleetSessionsPath finds sessions on all nodes. Its parameters are user, pool, backend,
// node, older (a duration), by (age, idle or traffic) and most.
const FleetSessionsPath = "/v1/fleet/sessions"

// DefaultFound is how many sessions are shown of all nodes if nobody says how many.
const DefaultFound = 100

// FleetFound is what one node has found.
type FleetFound struct {
	Node     string                 `json:"node"`
	All      int                    `json:"all"`      // that are wanted
	Sessions []balancer.SessionInfo `json:"sessions"` // the first of them
}

// FoundSessions is the answer of FleetSessionsPath.
type FoundSessions struct {
	// Sessions are the first ones of all nodes, sorted as was asked for.
	Sessions []FleetSession `json:"sessions"`
	All      int            `json:"all"`     // how many there are
	Nodes    map[string]int `json:"nodes"`   // and by node
	Missing  []string       `json:"missing"` // nodes that did not answer
}

func (s *Server) fleetSessionRoutes(mux *router) {
	mux.Handle(FleetSessionsPath, only(http.MethodGet, s.fleetSessions))
}

func (s *Server) fleetSessions(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r, "user", "pool", "backend", "node", "older", "by", "most")
	if !ok {
		return
	}
	for _, name := range []string{"user", "pool", "backend", "node"} {
		if q.Has(name) && !named(w, q.Get(name)) {
			return
		}
	}
	want := balancer.Search{User: q.Get("user"), Pool: q.Get("pool"), Backend: q.Get("backend"), By: q.Get("by"), Most: DefaultFound}
	var err error
	if q.Has("older") {
		if want.Older, err = time.ParseDuration(q.Get("older")); err != nil || want.Older < 0 {
			refuse(w, http.StatusBadRequest, "older is no duration", "say for example older=2h30m")
			return
		}
	}
	if q.Has("most") {
		if want.Most, err = strconv.Atoi(q.Get("most")); err != nil || want.Most < 1 || want.Most > balancer.MaxFound {
			refuse(w, http.StatusBadRequest, "most is no number that could be", fmt.Sprintf("say one from 1 to %d", balancer.MaxFound))
			return
		}
	}
	if !want.Known() {
		refuse(w, http.StatusBadRequest, "there is no such order of sessions", "say by=age, by=idle or by=traffic")
		return
	}
	var list []FleetFound
	if s.o.Search != nil {
		list, err = s.o.Search(r.Context(), want)
	} else {
		one := FleetFound{}
		one.Sessions, one.All = s.o.Node.Find(want)
		list, err = []FleetFound{one}, nil
	}
	found := FoundSessions{Sessions: []FleetSession{}, Nodes: make(map[string]int), Missing: missing(err)}
	known := false
	for _, f := range list {
		known = known || f.Node == q.Get("node")
		if q.Has("node") && f.Node != q.Get("node") {
			continue
		}
		found.All += f.All
		found.Nodes[f.Node] = f.All
		for _, i := range f.Sessions {
			found.Sessions = append(found.Sessions, FleetSession{f.Node, i})
		}
	}
	if q.Has("node") && !known {
		refuse(w, http.StatusNotFound, fmt.Sprintf("no node %q has answered", q.Get("node")), "usher node list shows those there are")
		return
	}
	slices.SortStableFunc(found.Sessions, func(a, b FleetSession) int { return want.Compare(a.SessionInfo, b.SessionInfo) })
	found.Sessions = found.Sessions[:min(want.Limit(), len(found.Sessions))]
	answer(w, found)
}
