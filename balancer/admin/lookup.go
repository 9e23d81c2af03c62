package admin

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"usher.example/cluster"
)

// LookupPath answers where many users would go, with their names as the node has
// them: it knows how they are normalised, and who asks does not.
const LookupPath = "/v1/users"

// MaxLookup is how many users one question is about: a second's work at most, and
// within a megabyte or two.
const MaxLookup = 500

// Lookup is the question of LookupPath.
type Lookup struct {
	Pool  string   `json:"pool,omitempty"` // empty: the only one
	Users []string `json:"users"`
}

// Lookups is its answer, in the order of the question.
type Lookups struct {
	Users []cluster.Whereabouts `json:"users"`
}

func (s *Server) lookup(w http.ResponseWriter, r *http.Request) {
	var o Lookup
	if _, ok := query(w, r); !ok || !bodyWithin(w, r, &o, MaxLookup*maxBody) {
		return
	}
	if len(o.Users) > MaxLookup {
		refuse(w, http.StatusBadRequest, "too many users at once", "ask again for those that are left")
		return
	}
	for _, u := range o.Users {
		if !named(w, u) {
			return
		}
	}
	pool, hint, ok := s.poolOf(w, o.Pool)
	if !ok {
		return
	}
	list := Lookups{make([]cluster.Whereabouts, len(o.Users))}
	for i, u := range o.Users {
		if list.Users[i], ok = s.place(w, pool, u, hint); !ok {
			return
		}
	}
	answer(w, list)
}

// poolOf is a pool by name, or the only one; else it refuses. The hint says which
// there are.
func (s *Server) poolOf(w http.ResponseWriter, pool string) (name, hint string, ok bool) {
	var pools []string
	for _, p := range s.o.Places.Status() {
		pools = append(pools, p.Name)
	}
	hint = "say pool=NAME; there are: " + strings.Join(pools, ", ")
	switch {
	case len(pools) == 0 && s.o.Fleet != nil:
		write(w, http.StatusServiceUnavailable, Refusal{"the fleet knows no pool yet", s.quorumHint(), true})
		return "", hint, false
	case pool == "" && len(pools) == 1:
		pool = pools[0]
	case pool == "":
		refuse(w, http.StatusBadRequest, "which pool is not said", hint)
		return "", hint, false
	case !slices.Contains(pools, pool):
		refuse(w, http.StatusNotFound, "pool \""+pool+"\": "+cluster.ErrNoPool.Error(), hint)
		return "", hint, false
	}
	return pool, hint, true
}

// place asks where a user would go; else it refuses.
func (s *Server) place(w http.ResponseWriter, pool, user, hint string) (cluster.Whereabouts, bool) {
	where, err := s.o.Places.Where(pool, user)
	switch {
	case errors.Is(err, cluster.ErrNoPool):
		refuse(w, http.StatusNotFound, err.Error(), hint)
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error(), "ask again; if it stays so, report it")
	}
	return where, err == nil
}
