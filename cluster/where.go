package cluster

import (
	"fmt"
	"slices"
	"strings"

	"usher.example/cluster/place"
)

// Whereabouts explains a user's place to an administrator. Empty strings: there
// is none of the kind.
type Whereabouts struct {
	Pool  string `json:"pool"`
	User  string `json:"user"`            // normalised
	Pin   string `json:"pin,omitempty"`   // his back end by the pins
	Home  string `json:"home,omitempty"`  // by the hash, over the back ends that may take him
	Stay  string `json:"stay,omitempty"`  // where he is live
	Holds int    `json:"holds"`           // sessions and logins there
	Place string `json:"place,omitempty"` // where a login would go now
	Why   string `json:"why,omitempty"`   // stay, pin or home
	Error string `json:"error,omitempty"` // why a login would be refused, or has to wait
}

// Where says where a login of the user would go, and why. It changes nothing.
// The error is ErrNoPool.
func (s *Single) Where(pool, user string) (Whereabouts, error) {
	w := Whereabouts{Pool: pool, User: s.names.Normal(user)}
	key := s.keyer.Key(pool, w.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[pool]
	if p == nil || p.removed {
		return Whereabouts{}, fmt.Errorf("pool %q: %w", pool, ErrNoPool)
	}
	w.Pin = p.pins[w.User]
	if b, ok := place.Home(key, p.view); ok {
		w.Home = b.Name
	}
	u, live := s.users[key]
	if live {
		w.Stay, w.Holds = u.backend.name, u.holds
		if u.backend.serves() {
			w.Place, w.Why = w.Stay, place.ByStay
			return w, nil
		}
	}
	b, why, err := p.base(w.User, key, u.backend)
	if err != nil {
		w.Error = err.Error()
		return w, nil
	}
	w.Place, w.Why = b.name, why
	if live {
		w.Error = fmt.Sprintf("%v: %d sessions on %s have to end first", ErrMoving, u.holds, w.Stay)
	}
	return w, nil
}

// PoolStatus is one pool as it is now.
type PoolStatus struct {
	Name    string `json:"name"`
	Storage string `json:"storage"`
	// Usable counts the back ends that may serve somebody. At zero the pool is
	// out of service.
	Usable   int             `json:"usable"`
	Backends []BackendStatus `json:"backends"`
}

// BackendStatus is one back end as it is now.
type BackendStatus struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"`
	Admin  Admin  `json:"admin"`
	Up     bool   `json:"up"`    // by health; until it has spoken see [Single.Update]
	State  string `json:"state"` // of both: up, drain, down; or removed, while users are live on it
	Users  int    `json:"users"` // live
	Holds  int    `json:"holds"` // their sessions and logins
	// Former counts the users who are live on a server that had this name
	// before, at another address.
	Former int `json:"former,omitempty"`
}

// Status lists the pools and their back ends, by name; no name appears twice.
func (s *Single) Status() []PoolStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]PoolStatus, 0, len(s.pools))
	for _, p := range s.pools {
		st := PoolStatus{Name: p.name, Storage: p.storage.String(), Usable: p.usable(), Backends: []BackendStatus{}}
		for _, b := range p.sorted() {
			st.Backends = append(st.Backends, b.status(b.state().String()))
		}
		st.Backends = p.addGone(st.Backends)
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b PoolStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (b *backend) status(state string) BackendStatus {
	return BackendStatus{
		Name: b.name, Weight: b.weight, Admin: b.admin, Up: b.up,
		State: state, Users: b.users, Holds: b.holds,
	}
}

// addGone adds the back ends that are no longer configured to those that are.
func (p *pool) addGone(rows []BackendStatus) []BackendStatus {
	at := make(map[string]int, len(rows))
	for i, row := range rows {
		at[row.Name] = i
	}
	for b := range p.gone {
		i, known := at[b.name]
		switch {
		case !known:
			at[b.name] = len(rows)
			rows = append(rows, b.status("removed"))
		case rows[i].State == "removed": // several servers, one after the other
			rows[i].Users += b.users
			rows[i].Holds += b.holds
		default:
			rows[i].Former += b.users
		}
	}
	slices.SortFunc(rows, func(a, b BackendStatus) int { return strings.Compare(a.Name, b.Name) })
	return rows
}
