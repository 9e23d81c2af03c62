package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"usher.example/balancer"
	"usher.example/cluster"
)

// ExplainPath answers how a login of a user would be answered now, rule by rule.
const ExplainPath = "/v1/explain"

// directoryTime bounds the question to a user directory.
const directoryTime = 5 * time.Second

// Explainer is what is asked of whoever places users: a cluster.Fleet. Its method is
// called by many goroutines and does not block for long.
type Explainer interface {
	// Explain returns cluster.ErrNoPool.
	Explain(pool, user string) (cluster.Explanation, error)
}

// ExplainStep is one rule's answer.
type ExplainStep struct {
	Rule string `json:"rule"`
	// Outcome is matched (it decides), passed (it has nothing against it), skipped (it
	// does not count here), waits or refuses.
	Outcome string `json:"outcome"`
	Backend string `json:"backend,omitempty"` // whom it is about
	Why     string `json:"why"`
	// Entry is what a penalty is of: "address …", "network …", "user …", or "pair …" for
	// this user from this address.
	Entry string `json:"entry,omitempty"`
	// WaitSeconds is how long it keeps the login waiting, and Until when that is over.
	WaitSeconds float64    `json:"wait_seconds,omitempty"`
	Until       *time.Time `json:"until,omitempty"`
}

// Explained is the answer of ExplainPath. Steps are in the order in which a login comes
// by them; what decides is the last that matched, and nothing after one that refuses.
type Explained struct {
	Node     string        `json:"node,omitempty"` // whose answer it is
	Listener string        `json:"listener,omitempty"`
	Protocol string        `json:"protocol,omitempty"`
	Pool     string        `json:"pool"`
	Typed    string        `json:"typed"`
	User     string        `json:"user"` // normalised
	Steps    []ExplainStep `json:"steps"`
	// Place and Why are where a login goes, and what decided: stay, pin, home or
	// directory. Of one that is refused both are empty; of one that waits only Why is.
	Place string `json:"place,omitempty"`
	Why   string `json:"why,omitempty"`
	// Verdict is placed, waits or refused. A login that is only slowed by a penalty is placed.
	Verdict     string  `json:"verdict"`
	HoldSeconds float64 `json:"hold_seconds,omitempty"` // how long one that waits does at most
	Error       string  `json:"error,omitempty"`        // for operators
	// Answer is what the client is told if he is refused; of IMAP without the tag.
	Answer string `json:"answer,omitempty"`

	Pin        *ExplainPin                `json:"pin,omitempty"`
	Candidates []cluster.ExplainedBackend `json:"candidates"`
	Moving     *cluster.ExplainedMove     `json:"moving,omitempty"`
	// Sessions counts what the user has open, by node.
	Sessions []ExplainSessions `json:"sessions"`
	// Missing tells of nodes that did not answer: he may be connected there.
	Missing []string `json:"missing"`
}

// ExplainPin is a user's pin. By and Since are of the order, as long as the events know
// of it.
type ExplainPin struct {
	cluster.ExplainedPin
	By    string     `json:"by,omitempty"`
	Since *time.Time `json:"since,omitempty"`
}

// ExplainSessions are a user's sessions on one node.
type ExplainSessions struct {
	Node     string   `json:"node"`
	Sessions int      `json:"sessions"`
	Backends []string `json:"backends"` // each once
}

func (s *Server) explainRoutes(mux *router) {
	mux.Handle(ExplainPath, only(http.MethodGet, s.explain))
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r, "user", "pool", "listener", "ip", "sni")
	if !ok || !named(w, q.Get("user")) {
		return
	}
	if !mayNameUsers(r.Context()) {
		refuse(w, http.StatusForbidden, "an explanation is about a user, and you may not see users", "ask with the role operate")
		return
	}
	if s.o.Explainer == nil {
		refuse(w, http.StatusNotImplemented, "nobody here explains places", "ask usher user where")
		return
	}
	entry := balancer.Entry{Listener: q.Get("listener"), Pool: q.Get("pool"), SNI: q.Get("sni")}
	if len(entry.SNI) > maxName || len(entry.Listener) > maxName {
		refuse(w, http.StatusBadRequest, "a name is too long", "give it as it is in the configuration")
		return
	}
	if text := q.Get("ip"); text != "" {
		var err error
		if entry.Client, err = netip.ParseAddr(text); err != nil {
			refuse(w, http.StatusBadRequest, "ip is no address", "say it as 192.0.2.1 or 2001:db8::1")
			return
		}
		entry.Client = entry.Client.Unmap().WithZone("")
	}
	hint := ""
	if entry.Listener == "" {
		if entry.Pool, hint, ok = s.poolOf(w, entry.Pool); !ok {
			return
		}
	}
	in, err := s.o.Node.ExplainEntry(entry)
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error(), "name one of them, or the pool")
		return
	}
	if entry.Pool != "" && entry.Pool != in.Pool {
		refuse(w, http.StatusBadRequest, "listener "+in.Listener+" uses pool "+in.Pool, "leave out the pool, or name another listener")
		return
	}
	x, err := s.explained(r.Context(), entry, in, q.Get("user"))
	switch {
	case errors.Is(err, cluster.ErrNoPool):
		refuse(w, http.StatusNotFound, err.Error(), cmp.Or(hint, "the fleet will know it in a moment"))
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error(), "ask again; if it stays so, report it")
	default:
		answer(w, x)
	}
}

// explained asks all who have a part in a login, in the order of a session.
func (s *Server) explained(ctx context.Context, entry balancer.Entry, in balancer.Entered, user string) (*Explained, error) {
	e, err := s.o.Explainer.Explain(in.Pool, user)
	if err != nil {
		return nil, err
	}
	x := &Explained{
		Node: s.gathering.name(), Listener: in.Listener, Protocol: in.Protocol, Pool: in.Pool, Typed: user, User: e.User,
		Verdict: "placed", Candidates: e.Candidates, Moving: e.Moving, Sessions: []ExplainSessions{}, Missing: []string{},
	}
	for _, st := range in.Steps {
		x.step(st)
	}
	if e.Pin != nil {
		x.Pin = &ExplainPin{ExplainedPin: *e.Pin}
		s.whoPinned(x.Pin, in.Pool, e.User)
	}
	s.countSessions(x)
	penalty, turned := s.o.Node.ExplainPenalty(entry, e.User)
	x.step(penalty)

	decided := s.askDirectory(ctx, x, in.Pool, user)
	var refusal error
	if decided == nil {
		for _, st := range e.Steps {
			x.Steps = append(x.Steps, ExplainStep{Rule: st.Rule, Outcome: string(st.Outcome), Backend: st.Backend, Why: st.Why})
		}
		x.Place, x.Why = e.Place, e.Why
		switch {
		case e.Waits:
			x.Verdict, x.HoldSeconds = "waits", e.HoldSeconds
		case e.Error != "":
			x.Verdict = "refused"
		}
		if e.Error != "" {
			refusal = errors.New(e.Error)
		}
	} else {
		for _, st := range e.Steps {
			if st.Rule != cluster.ByName {
				x.Steps = append(x.Steps, ExplainStep{Rule: st.Rule, Outcome: "skipped", Backend: st.Backend, Why: "the directory decides: the fleet has no part in it, and holds nobody for it"})
			}
		}
		if refusal = decided.err; refusal != nil {
			x.Verdict = "refused"
		} else {
			x.Place, x.Why = decided.backend, balancer.RuleDirectory
		}
	}
	if x.Verdict == "placed" {
		st, err := s.o.Node.ExplainBackend(in.Pool, x.Place)
		x.step(st)
		if err != nil {
			x.Verdict, refusal = "refused", err
		}
	}
	sated, full := s.o.Node.ExplainUser(entry, e.User)
	x.step(sated)
	if refusal != nil {
		x.Error = refusal.Error()
		x.Answer = s.o.Node.LoginAnswer(balancer.Entry{Listener: in.Listener, Pool: in.Pool}, refusal)
	}
	switch {
	case turned != "": // before a place is looked for
		x.Verdict, x.Answer, x.Error = "refused", turned, "the login is not tried: "+penalty.Why
	case sated.Outcome == "refuses" && x.Verdict == "placed":
		x.Verdict, x.Answer, x.Error = "refused", full, sated.Why
	}
	if in.Refusal != "" || in.Listener == "" { // before any login
		x.Verdict, x.Answer = "refused", in.Refusal
		x.Error = cmp.Or(x.Error, "the connection is refused before the login: see the steps")
	}
	if x.Verdict == "refused" {
		x.Place, x.Why, x.HoldSeconds = "", "", 0
	}
	return x, nil
}

func (x *Explained) step(st balancer.Step) {
	e := ExplainStep{Rule: st.Rule, Outcome: st.Outcome, Why: st.Why, Entry: st.Entry, WaitSeconds: st.Wait.Seconds()}
	if st.Wait > 0 {
		until := time.Now().Add(st.Wait).UTC()
		e.Until = &until
	}
	x.Steps = append(x.Steps, e)
}

// A directed is what a directory has decided.
type directed struct {
	backend string
	err     error
}

// askDirectory asks as a session does; nil if the places are asked next.
func (s *Server) askDirectory(ctx context.Context, x *Explained, pool, user string) *directed {
	if !s.o.Node.HasDirectory() {
		x.step(balancer.Step{Rule: balancer.RuleDirectory, Outcome: "skipped", Why: "there is none"})
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, directoryTime)
	defer cancel()
	backend, ok, err := s.o.Node.Lookup(ctx, pool, user)
	switch {
	case err != nil:
		x.step(balancer.Step{Rule: balancer.RuleDirectory, Outcome: "refuses", Why: "it does not answer: " + err.Error()})
	case ok:
		x.Steps = append(x.Steps, ExplainStep{Rule: balancer.RuleDirectory, Outcome: "matched", Backend: backend, Why: "it names the back end"})
	default:
		x.step(balancer.Step{Rule: balancer.RuleDirectory, Outcome: "passed", Why: "it does not know him"})
		return nil
	}
	return &directed{backend, err}
}

// whoPinned finds the order that made a pin, if it is still among the events.
func (s *Server) whoPinned(p *ExplainPin, pool, user string) {
	if p.ByFile {
		return
	}
	l := s.listEvents(wish{limit: maxList, codes: []string{"user_moved", "user_pinned", "user_move_pending", "user_pin_pending"}, users: true})
	for _, ev := range l.Events {
		if ev.Attrs["pool"] == pool && s.o.Node.Normal(ev.User()) == user && ev.Attrs["backend"] == p.Backend {
			at := ev.Time
			p.Since = &at
			p.By, _ = ev.Attrs["by"].(string)
		}
	}
}

// countSessions counts what the user has open on all nodes.
func (s *Server) countSessions(x *Explained) {
	count := func(node string, sessions []balancer.SessionInfo) {
		if len(sessions) == 0 {
			return
		}
		c := ExplainSessions{Node: node, Sessions: len(sessions), Backends: []string{}}
		for _, i := range sessions {
			if i.Backend != "" && (len(c.Backends) == 0 || c.Backends[len(c.Backends)-1] != i.Backend) {
				c.Backends = append(c.Backends, i.Backend)
			}
		}
		x.Sessions = append(x.Sessions, c)
	}
	if s.o.Fleet == nil {
		count("", s.o.Node.Sessions(x.User))
		return
	}
	nodes, err := s.o.Fleet.Sessions(x.User)
	x.Missing = missing(err)
	for _, n := range nodes {
		var sessions []balancer.SessionInfo
		if json.Unmarshal(n.Sessions, &sessions) != nil {
			x.Missing = append(x.Missing, "node "+n.Node+": its answer is not understood")
		}
		count(n.Node, sessions)
	}
}
