package admin

import (
	"time"

	"usher.example/balancer"
	"usher.example/cluster"
)

// Status is a node at one moment.
type Status struct {
	Version   string                  `json:"version"`
	Started   time.Time               `json:"started"`
	Uptime    float64                 `json:"uptime_seconds"`
	Draining  bool                    `json:"draining"`
	Ready     bool                    `json:"ready"`
	Reasons   []string                `json:"reasons"`  // why it is not ready
	Degraded  []string                `json:"degraded"` // what is wrong though it may be ready
	Sessions  int                     `json:"sessions"` // logged in or not
	Prelogin  int                     `json:"prelogin"` // of them, those that have not logged in
	Config    ConfigStatus            `json:"config"`
	Listeners []balancer.ListenerInfo `json:"listeners"`
	Pools     []PoolStatus            `json:"pools"`
}

// PoolStatus is one pool at one moment.
type PoolStatus struct {
	Name     string          `json:"name"`
	Storage  string          `json:"storage"` // shared or local
	Usable   int             `json:"usable"`  // back ends that may serve somebody
	Backends []BackendStatus `json:"backends"`
}

// BackendStatus is one back end at one moment: its place among the others, its
// health, and what this node has to do with it.
type BackendStatus struct {
	cluster.BackendStatus
	Sessions int     `json:"sessions"` // of this node, logging in or logged in
	Dials    uint64  `json:"dials"`    // connections tried, since it was configured
	Failures uint64  `json:"failures"` // dials and logins that failed by its fault
	Health   *Health `json:"health,omitempty"`

	counts  *balancer.BackendStats // nil: the balancer does not know it
	checker *BackendHealth         // nil: nobody checks it
}

// Health is what the checker of a back end knows.
type Health struct {
	State  string    `json:"state"`           // unknown, up or down
	Since  time.Time `json:"since,omitzero"`  // of the state
	Probed time.Time `json:"probed,omitzero"` // end of the last probe
	// Error is what the last bad probe said, also after the back end's return.
	// It may contain what the back end sent.
	Error string `json:"error,omitempty"`
	// Damped: it answers well, but fell too often and is kept out until Until.
	Damped bool      `json:"damped,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	// Resting: other nodes of the fleet probe it regularly, this one now and then.
	Resting bool `json:"resting,omitempty"`
}

// Status returns the node as it is now.
func (s *Server) Status() Status {
	st := Status{
		Version: s.o.Version, Started: s.o.Started, Uptime: time.Since(s.o.Started).Seconds(),
		Draining: s.o.Draining(), Reasons: s.o.Reasons(), Degraded: s.o.Degraded(), Config: s.o.Reloads.Status(),
		Listeners: s.o.Node.Listeners(), Pools: s.pools(),
	}
	st.Ready = len(st.Reasons) == 0
	if st.Ready {
		st.Reasons = []string{} // a list in JSON, never null
	}
	if len(st.Degraded) == 0 {
		st.Degraded = []string{}
	}
	st.Sessions, st.Prelogin = s.o.Node.Counts()
	return st
}

// pools joins what is known of each back end in three places. Who places users
// has the last word on which ones there are: a back end that was taken out of
// the configuration is shown for as long as users are live on it.
func (s *Server) pools() []PoolStatus {
	type name struct{ pool, backend string }
	checks := make(map[name]*BackendHealth)
	for _, h := range s.o.Health() {
		checks[name{h.Pool, h.Backend}] = &h
	}
	placed := s.o.Places.Status()
	pools := make([]PoolStatus, 0, len(placed))
	for _, p := range placed {
		pool := PoolStatus{Name: p.Name, Storage: p.Storage, Usable: p.Usable, Backends: []BackendStatus{}}
		dialled := s.o.Node.Pool(p.Name)
		for _, b := range p.Backends {
			st := BackendStatus{BackendStatus: b}
			if dialled != nil {
				st.count(dialled.Backend(b.Name))
			}
			st.check(checks[name{p.Name, b.Name}])
			pool.Backends = append(pool.Backends, st)
		}
		pools = append(pools, pool)
	}
	return pools
}

func (st *BackendStatus) count(b *balancer.Backend) {
	if b == nil {
		return
	}
	counts := b.Stats()
	st.counts = &counts
	st.Sessions, st.Dials, st.Failures = counts.Live, counts.Dials, counts.Failures
}

func (st *BackendStatus) check(h *BackendHealth) {
	if h == nil {
		return
	}
	st.checker = h
	st.Health = &Health{
		State: h.Status.State.String(), Since: h.Status.Since, Probed: h.Status.Probed,
		Damped: h.Status.Damped, Until: h.Status.Until, Resting: h.Status.Resting,
	}
	if h.Status.Err != nil {
		st.Health.Error = h.Status.Err.Error()
	}
}
