package balancer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"usher.example/balancer/guard"
	"usher.example/sniff"
)

// A Step is what one rule of the balancer says about a login: see [Server.ExplainEntry].
type Step struct {
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"` // matched, passed, skipped, waits or refuses
	Why     string `json:"why"`
	// Entry is what a penalty is of, as "address 192.0.2.1/32", and Wait for how long it
	// keeps the login waiting.
	Entry string        `json:"entry,omitempty"`
	Wait  time.Duration `json:"wait,omitempty"`
}

// Rules of the balancer, in a Step.
const (
	RuleListener  = "listener"  // where the client connects, which names the pool
	RuleSNI       = "sni"       // the name that he asks for by TLS
	RuleNode      = "node"      // the limits of the node
	RuleSessions  = "sessions"  // the limit of the listener
	RuleAddress   = "address"   // the limit of the client's address
	RulePenalty   = "penalty"   // what is remembered of failed logins
	RuleDirectory = "directory" // what a user directory says
	RuleBackend   = "backend"   // the back end is here, and has room
	RuleUser      = "user"      // the limit of the user, once he has proved that it is he
)

// An Entry is how somebody comes in.
type Entry struct {
	Listener string     // its name; empty: the first by name that uses Pool
	Pool     string     // empty: that of the listener
	Client   netip.Addr // zero: not known
	SNI      string     // empty: not known
}

// An Entered is what becomes of an Entry.
type Entered struct {
	Listener, Protocol, Pool string
	Steps                    []Step
	// Refusal is the answer to the connection, if it is refused before any login.
	Refusal string
}

// ExplainEntry says which listener and pool an entry comes to and what would refuse it
// there now, by the code that admits connections. It changes nothing. The error says
// that there is no such listener.
func (srv *Server) ExplainEntry(e Entry) (Entered, error) {
	b, err := srv.binding(e)
	if err != nil {
		return Entered{}, err
	}
	if b == nil { // nothing listens, as on a node that is being stopped
		x := Entered{Pool: e.Pool}
		x.note(RuleListener, "refuses", "no listener is open that uses the pool")
		return x, nil
	}
	x := Entered{Listener: b.Name, Protocol: b.Protocol.Name(), Pool: b.Pool}
	if e.Listener == "" {
		x.note(RuleListener, "skipped", fmt.Sprintf("none was named: the limits and answers are those of %s (%s)", b.Name, b.Protocol.Name()))
	} else {
		x.note(RuleListener, "matched", fmt.Sprintf("%s (%s) uses pool %s; neither address nor SNI choose another", b.Name, b.Protocol.Name(), b.Pool))
	}
	if e.SNI != "" {
		x.note(RuleSNI, "passed", "it chooses the certificate only, never a pool or a back end")
	}
	trusted, many := b.crowd(e.Client)
	r := srv.sessions
	r.mu.Lock()
	f := r.full(b.limits)
	var crowded *Failure
	if e.Client.IsValid() && !many {
		crowded = r.crowded(guard.AddressOf(e.Client), b.limits.PerAddress)
	}
	r.mu.Unlock()
	x.judge(b, RuleNode, f, "the node has room for one more session")
	x.judge(b, RuleSessions, b.full(b.stats.Open.Load()+1), "the listener has room for one more session")
	switch {
	case !e.Client.IsValid():
		x.note(RuleAddress, "skipped", "no address was given: sessions_per_address is not looked at")
	case trusted:
		x.note(RuleAddress, "passed", "the address is in trusted_networks: it has no limit of its own, and its word about the client is believed")
	case contains(b.ProxyNetworks, e.Client):
		x.note(RuleAddress, "passed", "the address is in proxy_networks: what counts is the client that its PROXY header names")
	case many:
		x.note(RuleAddress, "passed", "the address is in guard.exempt_networks: it has no limit of its own, and no penalties")
	default:
		x.judge(b, RuleAddress, crowded, "the address has room for one more session")
	}
	return x, nil
}

// binding finds the listener of an entry; nil if none is open for its pool.
func (srv *Server) binding(e Entry) (*binding, error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	var names []string
	var found *binding
	for _, l := range srv.listeners {
		b := l.binding.Load()
		names = append(names, b.Name)
		fits := e.Listener == b.Name || e.Listener == "" && (e.Pool == "" || e.Pool == b.Pool)
		if fits && (found == nil || cmp.Less(b.Name, found.Name)) {
			found = b
		}
	}
	if slices.Sort(names); found == nil && e.Listener != "" {
		return nil, fmt.Errorf("no listener %q; there are: %s", e.Listener, strings.Join(names, ", "))
	}
	return found, nil
}

func (x *Entered) note(rule, outcome, why string) {
	x.Steps = append(x.Steps, Step{Rule: rule, Outcome: outcome, Why: why})
}

func (x *Entered) judge(b *binding, rule string, f *Failure, good string) {
	if f == nil {
		x.note(rule, "passed", good)
		return
	}
	x.note(rule, "refuses", f.Err.Error())
	if x.Refusal == "" {
		x.Refusal = answerText(b, func(front sniff.Front) []byte { return front.Goodbye(nil, f.answer()) })
	}
}

// Normal is the form of a user's name that places, limits, penalties and commands use.
func (srv *Server) Normal(user string) string { return srv.deps.Placer.Normal(user) }

// HasDirectory says whether a user directory is asked before the places.
func (srv *Server) HasDirectory() bool { return srv.deps.Directory != nil }

// ExplainBackend says whether a login that is placed on a back end of a pool would be
// taken there by this node now.
func (srv *Server) ExplainBackend(pool, backend string) (Step, error) {
	own := srv.Pool(pool)
	if own == nil {
		f := unknownBackend(pool, backend)
		return Step{Rule: RuleBackend, Outcome: "refuses", Why: f.Err.Error()}, f
	}
	b := srv.backend(own, backend)
	if b == nil {
		f := unknownBackend(pool, backend)
		return Step{Rule: RuleBackend, Outcome: "refuses", Why: f.Err.Error()}, f
	}
	if f := b.full(b.state.sessions.Load() + 1); f != nil {
		return Step{Rule: RuleBackend, Outcome: "refuses", Why: f.Err.Error()}, f
	}
	return Step{Rule: RuleBackend, Outcome: "passed", Why: "it is in this node's configuration and has room"}, nil
}

// LoginAnswer is what a client is told whose login finds no place for a reason, in the
// words of the listener's protocol; of IMAP without the tag. Empty: nothing listens.
func (srv *Server) LoginAnswer(e Entry, reason error) string {
	b, err := srv.binding(e)
	if err != nil || b == nil {
		return ""
	}
	f := fail(NoBackend, "place: %w", reason)
	return answerText(b, func(front sniff.Front) []byte { return front.Refuse(nil, f.answer()) })
}

func answerText(b *binding, say func(sniff.Front) []byte) string {
	return strings.TrimSpace(string(say(b.Protocol.Front(sniff.FrontOptions{Hostname: b.hostname}))))
}
