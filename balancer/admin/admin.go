// Package admin is where people and machines look into a node and give it
// orders: HTTP and JSON over a unix socket, and metrics for Prometheus.
//
//	GET  /v1/status            the node, its listeners, pools and back ends
//	GET  /v1/checkup           the node in numbers, for monitoring; also on the loopback address
//	GET  /v1/sessions[?user=]  who is connected
//	GET  /v1/user?user=[&pool=]  where a user's next login would go, and why
//	POST /v1/users             the same of many users; it changes nothing
//	POST /v1/kick              {"user": …} or {"session": …}: end sessions
//	GET  /  /v1/board          the dashboard, and its data as a stream
//	GET  /v1/events            what has happened, on all nodes; also as a stream
//	GET  /v1/explain?user=     how a user's place comes about, rule by rule
//	GET  /v1/penalties         who is slowed because his logins fail
//	POST /v1/penalty/clear     forget that, on all nodes
//
//	GET  /v1/whoami            who asks, and what he may do
//	GET  /v1/openapi.json      this API, for programs
//
//	GET  /v1/certificates      the certificates that clients are shown
//	POST /v1/certificate/{renew,import,remove,export}
//
// and of a node that is in a fleet:
//
//	GET  /v1/fleet  /v1/nodes  /v1/backends   the fleet, with counts of all nodes
//	POST /v1/node/{drain,forget}              a node
//	POST /v1/backend/{state,weight}           a back end, on all nodes
//	POST /v1/backend/{add,remove}             back ends that come and go by command
//	POST /v1/user/{move,pin,unpin,kick}       a user, on all nodes
//	GET  /v1/user/sessions?user=              where he is connected
//	GET  /v1/fleet/sessions[?backend=…]       the first of those on all nodes
//
// Orders that move people or close sessions take "dry_run": true, and answer a [Plan].
//
// Laws, each held by a test:
//
//   - Who may open the socket may do everything: its mode is the only access
//     control, and it never exists with another one. The one exception are
//     private keys, which only root and usher's own user get. The handler of the
//     metrics, meant for a loopback address, gives no orders and names no user.
//   - Over TCP nobody is answered, but that the process lives, who has not said by a
//     token or a certificate who he is; then his role decides (role.go), a path
//     without a role is closed, and what he orders is signed with his name.
//   - Who may not see users is told of events without them and without the addresses of
//     clients, in lists, in streams and on the dashboard; a new attribute is hidden from
//     him until somebody has said that it names nobody (events.go).
//   - A board of the dashboard does not wait for the events of a node that is dead.
//   - The description of the API (openapi/) and its handlers say the same, streams included.
//   - A question that is not exactly understood is refused, with what to do
//     next; nothing is guessed and nothing that a question brings is unbounded.
//   - No answer has a password in it, since nothing that is asked knows one, and
//     none but that to an order to export has a key.
//   - This is the only package that knows Prometheus. Whatever is counted is
//     counted elsewhere, in plain typed atomics, and read when it is asked for.
//   - docs/metrics.md lists every metric that can appear, and no other.
package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/guard"
	"usher.example/cluster"
	"usher.example/cluster/place"
	"usher.example/health"
)

// Places is what is asked of whoever places users. Its methods are called by
// many goroutines and do not block for long.
type Places interface {
	// Where explains where a login would go. The error is cluster.ErrNoPool.
	Where(pool, user string) (cluster.Whereabouts, error)
	// Status lists the pools and their back ends, by name.
	Status() []cluster.PoolStatus
	// Stats returns the counters, which go on counting.
	Stats() *cluster.Stats
}

// BackendHealth is what the checker of one back end knows.
type BackendHealth struct {
	Pool, Backend string
	Status        health.Status
	Stats         *health.Stats // nil: not counted
}

// Options of a [Server]. Node and Places are needed, the zero values of the
// others do. The functions are called by many goroutines at once, for every
// question, and must not wait for anything.
type Options struct {
	// Version is what is shown as usher's. Empty: "unknown".
	Version string
	// Started is when the process began. Zero: when New was called.
	Started time.Time
	// Log is told who was kicked. Nil: slog.Default.
	Log *slog.Logger

	Node   *balancer.Server
	Places Places
	// Fleet is the node's. Nil: nobody can be moved, and orders to one are refused.
	Fleet Fleet
	// Keeper keeps the node's certificates and takes orders about them. Nil: there
	// are none, and orders are refused.
	Keeper Certificates
	// Health lists what the checkers know. A back end that it leaves out is
	// shown without health. Nil: all are.
	Health func() []BackendHealth
	// Spliced counts the octets that the forwarding engine moved by splice(2).
	// Nil: zero.
	Spliced func() uint64
	// Adopted counts the sessions that were established over a data path. Nil:
	// none.
	Adopted func(path string) uint64
	// Fallbacks counts, by reason, the connections whose TLS did not go by the
	// best way that the configuration allows. Nil: none.
	Fallbacks func() map[string]uint64
	// Draining says that the node is being stopped. Nil: it is not.
	Draining func() bool
	// Reasons says why the node is not ready, or nothing if it is, as
	// health.Endpoint.Reasons does. Nil: it is.
	Reasons func() []string
	// Degraded says what is wrong though the node may be ready, or nothing, as
	// health.Endpoint.Degraded does. Nil: nothing is.
	Degraded func() []string
	// Reloads is told of each attempt to put a configuration into force. Nil:
	// there was none.
	Reloads *Reloads

	// Gate knows who may use the API over TCP. Nil: nobody may, and Remote must not be
	// called.
	Gate *Gate
	// Board is the dashboard's page under "/", over TCP also for those who have not said
	// who they are: it must have no data in it. Nil: there is none.
	Board http.Handler
	// Events are those of this node. Nil: there are none.
	Events *Events
	// EventPeers are asked for the events of the other nodes. Nil: there are none.
	EventPeers EventPeers
	// Explainer explains places. Nil: Places, if it does.
	Explainer Explainer
	// Additions takes orders about back ends that come and go by command. Nil: there are
	// none, and orders are refused.
	Additions Additions
	// Names finds the names of users who are live, of keys that a plan is about. The error
	// names nodes that did not answer. Nil: plans name nobody.
	Names func(ctx context.Context, pool string, keys []place.Key) ([]string, error)
	// Search finds sessions of all nodes. Nil: only those of this one.
	Search func(ctx context.Context, q balancer.Search) ([]FleetFound, error)
	// Guard remembers failed logins. Nil: nobody does.
	Guard *guard.Guard
	// ClearPenalties carries out a ClearOrder, in JSON, on all nodes. The error names
	// those that did not answer. Nil: only the Guard is asked.
	ClearPenalties func(order []byte) (int, error)
	// What follows is for the dashboard.

	// Parts asks every node for its Part, as cluster.Fleet.Parts does, and so takes
	// seconds at most. Nil: this node is all there is.
	Parts func() (map[string]cluster.Part, error)
	// Placed lists back ends as cluster.Fleet.Placed does. Nil: Places does.
	Placed func() []cluster.FleetBackend
	// RecentEvents lists what happened in the fleet, newest first, without users'
	// names. Nil: the page shows what it has seen change itself.
	RecentEvents func() []BoardEvent
	// Verdict sums up Reasons and Degraded with codes, as health.Endpoint.Verdict
	// does. Nil: the node is ready.
	Verdict func() health.Verdict
}

// A Server answers questions about one node. Its methods are safe for
// concurrent use.
type Server struct {
	o       Options
	known   *router
	inner   http.Handler // of those whose role is known
	handler http.Handler // of the unix socket
	metrics http.Handler

	gathering *gathering
	followers chan struct{} // has an entry for each stream of events
	watcher   *watcher
	viewers   viewers
}

// New returns a Server.
func New(o Options) *Server {
	if o.Version == "" {
		o.Version = "unknown"
	}
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Health == nil {
		o.Health = func() []BackendHealth { return nil }
	}
	if o.Spliced == nil {
		o.Spliced = func() uint64 { return 0 }
	}
	if o.Adopted == nil {
		o.Adopted = func(string) uint64 { return 0 }
	}
	if o.Fallbacks == nil {
		o.Fallbacks = func() map[string]uint64 { return nil }
	}
	if o.Draining == nil {
		o.Draining = func() bool { return false }
	}
	if o.Reasons == nil {
		o.Reasons = func() []string { return nil }
	}
	if o.Degraded == nil {
		o.Degraded = func() []string { return nil }
	}
	if o.Verdict == nil {
		o.Verdict = func() health.Verdict { return health.Verdict{State: health.StateReady, Reasons: []health.Reason{}} }
	}
	if o.Reloads == nil {
		o.Reloads = new(Reloads)
	}
	if o.Events == nil {
		o.Events = NewEvents()
	}
	if o.Explainer == nil {
		o.Explainer, _ = o.Places.(Explainer)
	}
	if o.Guard == nil {
		o.Guard = guard.New(guard.Options{Off: true}, time.Now())
	}
	s := &Server{o: o, gathering: newGathering(o.Events, o.EventPeers), followers: make(chan struct{}, maxFollowers)}
	if s.o.RecentEvents == nil && o.EventPeers != nil {
		s.o.RecentEvents = s.boardEvents
	}
	s.watcher = newWatcher(s)
	s.known = s.routes()
	s.inner = s.known.mux
	s.handler = onSocket(ownPage(s.inner))
	s.metrics = s.newMetrics()
	return s
}

// Handler answers questions and takes orders. It is for the unix socket only:
// it asks nobody who he is.
func (s *Server) Handler() http.Handler { return s.handler }

// Metrics serves the metrics in Prometheus' text form.
func (s *Server) Metrics() http.Handler { return s.metrics }

// Public is what may be shown on a loopback address to everybody on the
// machine: /metrics, a check-up, the dashboard, which names no user and gives no
// orders, and health under every other path.
func (s *Server) Public(health http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", s.metrics)
	mux.Handle(CheckupPath, only(http.MethodGet, s.checkup))
	mux.Handle(BoardPath, only(http.MethodGet, s.board)) // of a caller whom nobody knows
	pageRoutes(mux)
	mux.Handle("/", health)
	return mux
}
