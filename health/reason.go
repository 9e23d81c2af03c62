package health

import "slices"

// A Code names a reason for scripts: it stays as it is over versions, while the
// text beside it is for people and may change. New codes may come.
type Code string

// Codes that a node is not ready by.
const (
	Starting     Code = "starting"
	Draining     Code = "draining"
	Drained      Code = "drained"
	NoListener   Code = "no_listener"
	PoolDown     Code = "pool_down"
	NotJoined    Code = "fleet_not_joined"
	FleetFailed  Code = "fleet_failed"
	Unkeyed      Code = "fleet_unkeyed"
	Isolated     Code = "isolated" // also of a node that is degraded: by when_isolated
	BackendsAway Code = "backends_unreachable"
)

// Codes that a node is degraded by.
const (
	CertificateEnding Code = "certificate_ending"
	ValuesSealed      Code = "values_sealed"
	NoQuorum          Code = "no_quorum"
	AddedUnusable     Code = "added_backend_unusable"
)

// Codes lists all of them with what they mean, as docs/monitoring.md does.
func Codes() []Reason {
	return []Reason{
		{Starting, "the process has only just begun"},
		{Draining, "the node is being stopped"},
		{Drained, "an administrator wants no clients sent to it (`usher node drain`)"},
		{NoListener, "no listener is open"},
		{PoolDown, "no back end of a pool is up"},
		{NotJoined, "the fleet has not been joined yet"},
		{FleetFailed, "the node cannot go on in its fleet, such as one that is too old for it; the text says what to do"},
		{Unkeyed, "users cannot be placed: a version of the fleet's secret is missing"},
		{Isolated, "the node has lost its fleet: not ready with `when_isolated = \"refuse\"`, degraded with `\"serve\"`"},
		{BackendsAway, "more than half of the back ends fail for this node alone"},
		{CertificateEnding, "a certificate ends soon, has ended, or is not valid yet, and no other replaces it"},
		{ValuesSealed, "stored values, keys of certificates among them, cannot be opened with the secret that this node has"},
		{AddedUnusable, "a back end that was added by command cannot be used by this node"},
		{NoQuorum, "the fleet has no quorum: nothing can be changed (witnesses say so)"},
	}
}

// A Reason is why a node is not ready, or not well: one line, without addresses,
// users or what a peer sent.
type Reason struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Texts are the texts of reasons.
func Texts(reasons []Reason) []string {
	var texts []string
	for _, r := range reasons {
		texts = append(texts, r.Text)
	}
	return texts
}

// A Condition is what makes a node unready or degraded: why, or nothing.
type Condition func() []Reason

// As makes a condition of lines that all have one code.
func As(code Code, lines func() []string) Condition {
	return func() []Reason {
		var reasons []Reason
		for _, line := range lines() {
			reasons = append(reasons, Reason{code, line})
		}
		return reasons
	}
}

// Readiness is what a node is for those who send users to it.
type Readiness string

// States of a node. Users may be sent to one that is ready or degraded.
const (
	StateLive     Readiness = "live"     // it answers, and cannot take users
	StateReady    Readiness = "ready"    // it takes users
	StateDegraded Readiness = "degraded" // it takes users, and something is wrong
	StateDraining Readiness = "draining" // it is to get no more, by its stop or an administrator's word
	StateIsolated Readiness = "isolated" // it refuses logins, since it has lost its fleet
)

// States lists all of them.
func States() []Readiness {
	return []Readiness{StateLive, StateReady, StateDegraded, StateDraining, StateIsolated}
}

// Takes says whether users may be sent to a node in the state.
func (s Readiness) Takes() bool { return s == StateReady || s == StateDegraded }

// A Verdict is a state and why it is so: of a node that takes no users what keeps
// it from that, of one that is degraded what is wrong.
type Verdict struct {
	State   Readiness `json:"state"`
	Reasons []Reason  `json:"reasons"` // never nil
}

// verdictOf makes a verdict. Draining is by somebody's wish, so it comes first.
func verdictOf(unready, degraded []Reason) Verdict {
	v := Verdict{State: StateReady, Reasons: []Reason{}}
	switch {
	case has(unready, Draining, Drained):
		v.State = StateDraining
	case has(unready, Isolated):
		v.State = StateIsolated
	case len(unready) > 0:
		v.State = StateLive
	case len(degraded) > 0:
		v.State, unready = StateDegraded, degraded
	}
	v.Reasons = append(v.Reasons, unready...)
	return v
}

func has(reasons []Reason, codes ...Code) bool {
	for _, r := range reasons {
		if slices.Contains(codes, r.Code) {
			return true
		}
	}
	return false
}
