package admin

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"usher.example/balancer"
	"usher.example/balancer/forward"
)

// A metric is one family. Its label values are bounded: names from the
// configuration and the enumerations written here, never a user or an address.
type metric struct {
	name   string
	kind   kind
	help   string
	labels []label
	desc   *prometheus.Desc
}

// A label and what its values can be; empty where the preface of the reference
// says it.
type label struct{ name, values string }

// A kind of metric, as Prometheus names it.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

func newMetric(k kind, name, help string, labels ...label) *metric {
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.name
	}
	return &metric{name, k, help, labels, prometheus.NewDesc(name, help, names, nil)}
}

// Labels that several metrics have.
var (
	byListener = label{name: "listener"}
	byProto    = label{name: "proto"}
	byPool     = label{name: "pool"}
	byBackend  = label{name: "backend"}
)

// byCert are the labels of a certificate. There is a series for each that is
// configured or imported; all that clients have asked for are one, since strangers
// choose their names.
var byCert = []label{
	byListener,
	{"name", "the first name of the certificate, or else the file that it should be in; `on demand`: the first that ends of all those that clients have asked for"},
	{"source", values("file", "acme", "imported")},
	{"key", "`ECDSA`, `RSA` or `Ed25519`; empty without a certificate"},
}

// Values of labels that are enumerations of ours, in the order in which they
// are counted.
var (
	verdicts   = []string{"ok", "failed", "error"} // by balancer.LoginOK and following
	ends       = []string{"client_closed", "server_closed", "client_lost", "server_lost", "idle", "killed"}
	mechanisms = mechanismNames()
	paths      = forward.Paths()
	states     = []string{"up", "drain", "down", "removed"} // cluster.BackendStatus.State
)

// Fallbacks are the reasons that Options.Fallbacks may name: those of package
// handshake, then those of the forwarding engine.
var Fallbacks = []string{"fips", "version", "suite", "secrets", "self_check", "no_suite", "no_rekey", "amid_record", "refused"}

func mechanismNames() []string {
	var names []string
	for _, m := range balancer.Mechanisms() {
		names = append(names, string(m))
	}
	return names
}

func kindNames() []string {
	var names []string
	for _, k := range balancer.Kinds() {
		names = append(names, k.String())
	}
	return names
}

// values lists values for people.
func values(names ...string) string { return "`" + strings.Join(names, "`, `") + "`" }

// The metrics of usher itself.
var (
	buildInfo = newMetric(gauge, "usher_build_info", "Always 1; what is running.",
		label{"version", "usher's version"}, label{"revision", "revision of the source, or `unknown`"}, label{"goversion", "Go's version"})
	ready    = newMetric(gauge, "usher_ready", "Whether /readyz says that the node can take users.")
	degraded = newMetric(gauge, "usher_degraded",
		"Whether /readyz says that the node is degraded: it takes users, and all is not well, such as that it is isolated from its fleet, or that a certificate ends soon.")
	drain = newMetric(gauge, "usher_draining", "Whether the node is being stopped and takes no new connections.")

	reloadOK = newMetric(gauge, "usher_config_last_reload_successful",
		"Whether the last attempt to put a configuration into force went well.")
	reloadTime = newMetric(gauge, "usher_config_last_reload_success_timestamp_seconds",
		"When the configuration in force was loaded.")
	reloads = newMetric(counter, "usher_config_reloads_total", "Attempts to put a configuration into force, the start included.",
		label{"result", values("ok", "failed")})

	accepts = newMetric(counter, "usher_accepts_total", "Connections accepted.", byListener, byProto)
	current = newMetric(gauge, "usher_connections", "Client connections now.", byListener, byProto,
		label{"state", "`login`: not logged in; `forward`: established"})
	sessions = newMetric(counter, "usher_sessions_total", "Sessions that have ended, by what refused or ended them before they were forwarded.",
		byListener, byProto, label{"failure", "`none`: it was forwarded; else " + values(kindNames()[1:]...)})
	sessionEnds = newMetric(counter, "usher_session_ends_total", "Forwarded sessions that have ended, by what ended them.",
		label{"end", values(ends...)})
	moved = newMetric(counter, "usher_bytes_total", "Octets of the application moved by forwarded sessions, counted when a session ends.",
		label{"dir", "`in`: from clients; `out`: to clients"}, byProto)
	spliced = newMetric(counter, "usher_spliced_bytes_total", "Octets that were moved within the kernel, short messages not among them; counted when a session ends.")

	established = newMetric(counter, "usher_sessions_established_total", "Sessions established, by the way that their bytes take.",
		label{"path", "`splice`: plaintext, within the kernel; `ktls`: likewise, with the kernel's TLS; `user`: usher's own record layer; `copy`: crypto/tls"})
	fallbacks = newMetric(counter, "usher_tls_fallbacks_total",
		"Connections of clients or back ends whose TLS did not go by the best way that data_path allows.",
		label{"reason", "to `copy`: " + values(Fallbacks[:5]...) + "; to `user`: " + values(Fallbacks[5:]...)})

	handshakes = newMetric(counter, "usher_tls_handshakes_total", "TLS handshakes with clients.",
		label{"result", values("full", "resumed", "failed")})
	certNotAfter = newMetric(gauge, "usher_cert_not_after_timestamp_seconds",
		"When the certificate ends; of several of one kind for one name, when the last does.", byCert...)
	certProblem = newMetric(gauge, "usher_cert_problem",
		"Whether the certificate, or what should take its place, needs somebody; the log says why.", byCert...)
	logins = newMetric(counter, "usher_auth_total", "Logins tried.", byProto,
		label{"mech", "`command` is IMAP's LOGIN and POP3's USER; " + values(mechanisms[1:]...)},
		label{"result", "`ok`: the back end let him in, whether he waited for the answer or not; `failed`: wrong credentials; `error`: not possible now, or refused for another reason"})
	loginTime = newMetric(histogram, "usher_login_seconds",
		"Time of a successful login, from the accepted connection or the previous answer to the good one, with the client's own pauses, but without the time for which the guard let him wait before he was tried.", byProto)

	placements = newMetric(counter, "usher_placements_total", "Users placed on a back end, by why he was put there.",
		label{"result", "`stay`: he was live there; `pin`; `home`: the hash; `refused`: no usable back end; `expired`: his old sessions did not end in time"})
	moves = newMetric(counter, "usher_moves_total", "Logins that were placed after a wait, as a view was changing or the user was moved.")

	fleetBytes = newMetric(counter, "usher_fleet_bytes_total", "Octets at the fleet port, without headers of TCP, UDP and IP; 0 without a fleet.",
		label{"dir", "`in`: from other nodes; `out`: to them"})

	apiRefused = newMetric(counter, "usher_api_refused_total", "Callers of the API over TCP who were not let in.",
		label{"reason", "`missing`: neither token nor certificate; `token` and `certificate`: a wrong one; `subject`: a good certificate without a role; `origin`: sent by a page of another site"})
	apiConnections = newMetric(gauge, "usher_api_connections", "Connections to the API over TCP now.")
	apiShed        = newMetric(counter, "usher_api_shed_total", "Connections to the API over TCP that were closed for want of room, before they had said who they are.")

	poolUsable   = newMetric(gauge, "usher_pool_usable_backends", "Back ends of the pool that may serve somebody.", byPool)
	backendUp    = newMetric(gauge, "usher_backend_up", "Whether the back end is up by health; 1 until it was first checked.", byPool, byBackend)
	backendState = newMetric(gauge, "usher_backend_state", "1 for the state of the back end, health and administration together, 0 for others.",
		byPool, byBackend, label{"state", values(states...) + "; `removed`: no longer configured, but users are live there"})
	backendWeight   = newMetric(gauge, "usher_backend_weight", "The configured share of users.", byPool, byBackend)
	backendUsers    = newMetric(gauge, "usher_backend_users", "Users that are live on the back end.", byPool, byBackend)
	backendSessions = newMetric(gauge, "usher_backend_sessions", "Sessions on the back end now, those that are logging in included.", byPool, byBackend)
	backendDials    = newMetric(counter, "usher_backend_dials_total", "Connections tried to the back end, health checks included.", byPool, byBackend)
	backendFailures = newMetric(counter, "usher_backend_failures_total",
		"Dials and logins that failed by the back end's fault, health checks included.", byPool, byBackend)
	backendDialTime = newMetric(histogram, "usher_backend_dial_seconds",
		"Time to connect to the back end, with the handshake of implicit TLS.", byPool, byBackend)
	backendChecks      = newMetric(counter, "usher_backend_checks_total", "Health checks that have ended.", byPool, byBackend)
	checkFailures      = newMetric(counter, "usher_backend_check_failures_total", "Health checks that have ended badly.", byPool, byBackend)
	backendCheckTime   = newMetric(gauge, "usher_backend_check_seconds", "Duration of the last health check.", byPool, byBackend)
	backendTransitions = newMetric(counter, "usher_backend_transitions_total", "Changes of the back end's health.", byPool, byBackend,
		label{"to", values("up", "down")})
)

// metrics are all of them, in the order of the manual.
var metrics = []*metric{
	buildInfo, ready, degraded, drain, reloadOK, reloadTime, reloads,
	accepts, current, sessions, sessionEnds, moved, spliced, established, fallbacks, handshakes, certNotAfter, certProblem, logins, loginTime, placements, moves, fleetBytes,
	apiRefused, apiConnections, apiShed,
	poolUsable, backendUp, backendState, backendWeight, backendUsers, backendSessions, backendDials, backendFailures,
	backendDialTime, backendChecks, checkFailures, backendCheckTime, backendTransitions,
	penalties, delayedLogins, delaySeconds, heldLogins, refusedLogins, repeatedLogins, learntPenalties, guardEntries, guardCapacity,
}

// allMetrics are those of all files.
func allMetrics() []*metric { return slices.Concat(metrics, nodeMetrics) }
