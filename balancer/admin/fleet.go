package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
)

// Paths of the API that are about the fleet.
const (
	FleetPath        = "/v1/fleet"
	TicketsPath      = "/v1/fleet/tickets"
	NodesPath        = "/v1/nodes"
	NodeDrainPath    = "/v1/node/drain"
	NodeForgetPath   = "/v1/node/forget"
	BackendsPath     = "/v1/backends"
	BackendStatePath = "/v1/backend/state"
	WeightPath       = "/v1/backend/weight"
	MovePath         = "/v1/user/move"
	PinPath          = "/v1/user/pin"
	UnpinPath        = "/v1/user/unpin"
	UserKickPath     = "/v1/user/kick"
	UserSessionsPath = "/v1/user/sessions"
)

// FleetNodes is what is asked of a fleet about its nodes. Its methods, and those of
// the two below, are called by many goroutines. They ask other nodes, and so take
// seconds at most; what waits for sessions to end takes a context.
type FleetNodes interface {
	Overview() cluster.Overview
	MissingVoters() []string
	// Differences says by node what of its configuration the fleet does otherwise.
	Differences() map[string][]string
	// Nodes returns an error that names the nodes that did not answer, besides
	// the list.
	Nodes() ([]cluster.FleetNode, error)
	DrainNode(node string, on bool) error
	Forget(node string) error
	// RotateTickets makes new keys of session tickets; with drop, what was sealed with
	// others is not opened any more.
	RotateTickets(drop bool) error
	// Octets are those that the fleet port has carried up to now. It asks nobody.
	Octets() (in, out uint64)
	// Gauges are numbers for monitoring. It asks nobody.
	Gauges() cluster.Gauges
}

// FleetBackends is what is asked of a fleet about its back ends.
type FleetBackends interface {
	// Backends returns an error as FleetNodes.Nodes does.
	Backends() ([]cluster.FleetBackend, error)
	SetAdmin(ctx context.Context, pool, backend string, state table.Admin, by string) error
	SetWeight(ctx context.Context, pool, backend string, weight int, by string) error
}

// FleetUsers is what is asked of a fleet about users.
type FleetUsers interface {
	// Move pins a user to the target and moves him there; without one his pin is
	// taken away.
	Move(ctx context.Context, pool, user, target, by string) error
	// Home sends a user where his pin or the hash says.
	Home(ctx context.Context, pool, user, by string) error
	// KickAll and Sessions return an error as FleetNodes.Nodes does.
	KickAll(user, reason string) (int, error)
	Sessions(user string) ([]cluster.UserSessions, error)
}

// A Fleet is what a node's fleet is asked.
type Fleet interface {
	FleetNodes
	FleetBackends
	FleetUsers
	FleetPlans
}

// patience is how long an order waits until all nodes have done their part.
const patience = 20 * time.Second

// errPatience ends the wait; the order goes on.
var errPatience = fmt.Errorf("not within %v", patience)

// Done is the answer to an order. What a change takes until the last node has done
// its part may be more than an order waits for: then it is not done, and goes on.
type Done struct {
	Done    bool   `json:"done"`
	Pending string `json:"pending,omitempty"` // why it is not
}

// FleetStatus is the answer of FleetPath.
type FleetStatus struct {
	cluster.Overview
	// Missing are voters that this node does not see.
	Missing []string `json:"missing_voters"`
	// Differs says by node what of its configuration the fleet does otherwise.
	Differs map[string][]string `json:"differs,omitempty"`
}

func (s *Server) fleetRoutes(mux *router) {
	get := func(path string, h http.HandlerFunc) { mux.Handle(path, only(http.MethodGet, h)) }
	post := func(path string, h http.HandlerFunc) { mux.Handle(path, only(http.MethodPost, h)) }
	get(FleetPath, s.inFleet(s.fleetStatus))
	post(TicketsPath, s.inFleet(s.rotateTickets))
	get(NodesPath, s.inFleet(s.nodes))
	post(NodeDrainPath, s.inFleet(s.drainNode))
	post(NodeForgetPath, s.inFleet(s.forgetNode))
	get(BackendsPath, s.backends)
	post(BackendStatePath, s.inFleet(s.setState))
	post(WeightPath, s.inFleet(s.setWeight))
	post(MovePath, s.inFleet(s.move))
	post(PinPath, s.inFleet(s.pin))
	post(UnpinPath, s.inFleet(s.unpin))
	post(UserKickPath, s.kickUser)
	get(UserSessionsPath, s.userSessions)
	s.additionRoutes(mux)
	s.fleetSessionRoutes(mux)
}

// inFleet lets only a node pass that is in one.
func (s *Server) inFleet(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.o.Fleet == nil {
			refuse(w, http.StatusNotImplemented, "this node is in no fleet",
				"set [fleet] in the configuration and restart; a fleet may have one node")
			return
		}
		h(w, r)
	}
}

func (s *Server) fleetStatus(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	st := FleetStatus{Overview: s.o.Fleet.Overview(), Missing: s.o.Fleet.MissingVoters(), Differs: s.o.Fleet.Differences()}
	if st.Missing == nil {
		st.Missing = []string{}
	}
	answer(w, st)
}

// ordered answers an order by how it went. Hint is what there is, for those who
// asked for something else.
func (s *Server) ordered(w http.ResponseWriter, err error, hint string) {
	switch {
	case err == nil:
		answer(w, Done{Done: true})
	case errors.Is(err, errPatience):
		answer(w, Done{Pending: err.Error()})
	case errors.Is(err, cluster.ErrNoLeader), errors.Is(err, cluster.ErrIsolated):
		write(w, http.StatusServiceUnavailable, Refusal{err.Error(), s.quorumHint(), true})
	case errors.Is(err, cluster.ErrAbsent):
		refuse(w, http.StatusServiceUnavailable, err.Error(), "try again when it is back; "+hint)
	case errors.Is(err, table.ErrNoPool), errors.Is(err, cluster.ErrNoPool), errors.Is(err, table.ErrNoBackend), errors.Is(err, table.ErrNoMember):
		refuse(w, http.StatusNotFound, err.Error(), hint)
	case errors.Is(err, table.ErrMoving), errors.Is(err, table.ErrSettling), errors.Is(err, table.ErrKeys):
		refuse(w, http.StatusConflict, err.Error(), "try again when that is over")
	case errors.Is(err, table.ErrTarget):
		refuse(w, http.StatusConflict, err.Error(), "make it active and wait for its health, or name another; "+hint)
	case errors.Is(err, table.ErrCounted):
		refuse(w, http.StatusConflict, err.Error(), "stop it, and try again in half a minute")
	case errors.Is(err, table.ErrSameKey):
		refuse(w, http.StatusBadRequest, err.Error(), "he cannot be pinned; leave him to the hash")
	default:
		refuse(w, http.StatusInternalServerError, err.Error(), "try again; if it stays so, look into the log")
	}
}

// quorumHint says how the fleet comes to decide again.
func (s *Server) quorumHint() string {
	missing := s.o.Fleet.MissingVoters()
	if len(missing) == 0 {
		return "all voters can be seen: try again in some seconds"
	}
	return "missing voters: " + strings.Join(missing, ", ") +
		"; start them, or if a majority is lost for good see usher fleet recover --help"
}

// missing are the lines of an error that names nodes that did not answer; a list in
// JSON, never null.
func missing(err error) []string {
	if err == nil {
		return []string{}
	}
	return strings.Split(err.Error(), "\n")
}

// by names who gives an order.
func by(w http.ResponseWriter, name string) (string, bool) {
	if name == "" {
		return "an administrator", true
	}
	return name, named(w, name)
}
