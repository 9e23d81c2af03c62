// Package admin is where people and machines look into a node and give it
// orders: HTTP and JSON over a unix socket, and metrics for Prometheus.
//
//	GET  /v1/status            the node, its listeners, pools and back ends
//	GET  /v1/checkup           the node in numbers, for monitoring; also on the loopback address
//	GET  /v1/sessions[?user=]  who is connected
//	GET  /v1/user?user=[&pool=]  where a user's next login would go, and why
//	POST /v1/users             the same of many users; it changes nothing
//	POST /v1/kick              {"user": …} or {"session": …}: end sessions
//
//	GET  /v1/certificates      the certificates that clients are shown
//	POST /v1/certificate/{renew,import,remove,export}
//
// and of a node that is in a fleet:
//
//	GET  /v1/fleet  /v1/nodes  /v1/backends   the fleet, with counts of all nodes
//	POST /v1/node/{drain,forget}              a node
//	POST /v1/backend/{state,weight}           a back end, on all nodes
//	POST /v1/user/{move,pin,unpin,kick}       a user, on all nodes
//	GET  /v1/user/sessions?user=              where he is connected
//
// Laws, each held by a test:
//
//   - Who may open the socket may do everything: its mode is the only access
//     control, and it never exists with another one. The one exception are
//     private keys, which only root and usher's own user get. The handler of the
//     metrics, meant for a loopback address, gives no orders and names no user.
//   - A question that is not exactly understood is refused, with what to do
//     next; nothing is guessed and nothing that a question brings is unbounded.
//   - No answer has a password in it, since nothing that is asked knows one, and
//     none but that to an order to export has a key.
//   - This is the only package that knows Prometheus. Whatever is counted is
//     counted elsewhere, in plain typed atomics, and read when it is asked for.
//   - docs/metrics.md lists every metric that can appear, and no other.
package admin

import (
	"log/slog"
	"net/http"
	"time"

	"usher.example/balancer"
	"usher.example/cluster"
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

	// Verdict sums up Reasons and Degraded with codes, as health.Endpoint.Verdict
	// does. Nil: the node is ready.
	Verdict func() health.Verdict
}

// A Server answers questions about one node. Its methods are safe for
// concurrent use.
type Server struct {
	o       Options
	handler http.Handler
	metrics http.Handler
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
	s := &Server{o: o}
	s.handler = s.routes()
	s.metrics = s.newMetrics()
	return s
}

// Handler answers questions and takes orders. It is for the unix socket only:
// it asks nobody who he is.
func (s *Server) Handler() http.Handler { return s.handler }

// Metrics serves the metrics in Prometheus' text form.
func (s *Server) Metrics() http.Handler { return s.metrics }

// Public is what may be shown on a loopback address to everybody on the
// machine: /metrics, a check-up, and health under every other path.
func (s *Server) Public(health http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", s.metrics)
	s.checkupRoutes(mux)
	mux.Handle("/", health)
	return mux
}
