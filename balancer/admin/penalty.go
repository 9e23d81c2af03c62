package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"usher.example/balancer/guard"
)

// Paths of the API that are about failed logins.
const (
	PenaltiesPath    = "/v1/penalties"
	PenaltyClearPath = "/v1/penalty/clear"
)

// maxPenalties bounds what is listed; total says how many there are.
const maxPenalties = 10000

// Penalties is the answer of PenaltiesPath: those of this node, which hears from the
// others of the fleet within two seconds. It names users.
type Penalties struct {
	Penalties []guard.Penalty `json:"penalties"` // the heaviest first
	Total     int             `json:"total"`
	Held      int             `json:"held"` // logins that wait now
}

// ClearOrder is the order of PenaltyClearPath. Exactly one of the first three is set.
type ClearOrder struct {
	Address string `json:"address,omitempty"` // or a network
	User    string `json:"user,omitempty"`
	All     bool   `json:"all,omitempty"`
	By      string `json:"by,omitempty"`
}

// Cleared is the answer of PenaltyClearPath.
type Cleared struct {
	Cleared int      `json:"cleared"` // penalties, on the node that had most of them
	Missing []string `json:"missing"` // nodes that did not answer: they remember
}

// errClear is what is wrong with most orders.
var errClear = errors.New(`say one of "address", "user" and "all"`)

// Subject is what an order is about: a network, a user's name, or neither for all.
func (o ClearOrder) Subject() (where netip.Prefix, user string, err error) {
	set := 0
	for _, is := range []bool{o.Address != "", o.User != "", o.All} {
		if is {
			set++
		}
	}
	if set != 1 {
		return where, "", errClear
	}
	if o.Address == "" {
		return where, o.User, nil
	}
	if where, err = netip.ParsePrefix(o.Address); err == nil {
		return where.Masked(), "", nil
	}
	a, err := netip.ParseAddr(o.Address)
	if err != nil || a.Zone() != "" {
		return where, "", fmt.Errorf("%q is no address and no network", o.Address)
	}
	return guard.AddressOf(a), "", nil
}

// penaltyRoutes adds the paths about failed logins.
func (s *Server) penaltyRoutes(mux *router) {
	mux.Handle(PenaltiesPath, only(http.MethodGet, s.penalties))
	mux.Handle(PenaltyClearPath, only(http.MethodPost, s.clearPenalties))
}

func (s *Server) penalties(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r, "kind")
	if !ok {
		return
	}
	kind := q.Get("kind")
	if q.Has("kind") && kind != "address" && kind != "network" && kind != "user" {
		refuse(w, http.StatusBadRequest, "there are no penalties of that kind", "kind is one of: address, network, user")
		return
	}
	a := Penalties{Penalties: []guard.Penalty{}, Held: s.o.Guard.Held()}
	for _, p := range s.o.Guard.List(time.Now()) {
		if kind == "" || p.Kind == kind {
			a.Penalties = append(a.Penalties, p)
		}
	}
	a.Total = len(a.Penalties)
	a.Penalties = a.Penalties[:min(a.Total, maxPenalties)]
	answer(w, a)
}

func (s *Server) clearPenalties(w http.ResponseWriter, r *http.Request) {
	var o ClearOrder
	if !order(w, r, &o) || o.User != "" && !named(w, o.User) {
		return
	}
	who, ok := by(w, o.By)
	if !ok {
		return
	}
	where, user, err := o.Subject()
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error(), "an address is as 192.0.2.1 or 2001:db8::/48; usher penalty list shows some")
		return
	}
	if user != "" {
		user = s.o.Node.Normal(user)
		o.User = user
	}
	var n int
	if s.o.ClearPenalties != nil {
		b, merr := json.Marshal(o)
		if err = merr; err == nil {
			n, err = s.o.ClearPenalties(b)
		}
	} else {
		n = s.o.Guard.Clear(where, user)
	}
	s.o.Log.Info("penalties cleared", "event", "penalties_cleared", "address", o.Address, "user", o.User, "all", o.All, "penalties", n, "by", who, "err", err)
	answer(w, Cleared{n, missing(err)})
}
