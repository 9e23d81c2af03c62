package balancer

import (
	"fmt"
	"time"

	"usher.example/balancer/guard"
	"usher.example/sniff"
)

// ExplainPenalty says whether what is remembered of failed logins would delay or refuse a
// login of a user (in normal form) that enters so now, by the code that delays and refuses
// them. If it is refused, answer is what the client is told. Nothing is remembered of the
// question.
func (srv *Server) ExplainPenalty(e Entry, user string) (st Step, answer string) {
	st = Step{Rule: RulePenalty, Outcome: "skipped"}
	g := srv.deps.Guard
	b, err := srv.binding(e)
	switch {
	case g == nil:
		st.Why = "failed logins are not remembered here"
		return st, ""
	case err != nil || b == nil:
		st.Why = "no listener is open that uses the pool"
		return st, ""
	case !e.Client.IsValid():
		st.Why = "no address was given: penalties are of an address, alone or together with the user"
		return st, ""
	}
	trusted, _ := b.crowd(e.Client)
	x := g.Explain(time.Now(), guard.Attempt{Client: e.Client, User: user, Trusted: trusted}, b.holding())
	st.Outcome, st.Wait = "passed", x.Wait
	if x.By != "" {
		st.Entry = x.By + " " + x.Name
	}
	switch {
	case x.Exempt == "off":
		st.Why = "guard.enabled is false"
	case x.Exempt == "trusted":
		st.Why = "the address is in trusted_networks: many users are behind it, and nobody is slowed for it"
	case x.Exempt != "":
		st.Why = "the address is in guard.exempt_networks: many users are behind it, and nobody is slowed for it"
	case x.Refuse:
		st.Outcome = "refuses"
		st.Why = fmt.Sprintf("too many logins have failed (weight %.1f): the next try is allowed in %v, which is longer than a client waits (%s)", x.Weight, x.Wait.Round(time.Millisecond), x.Reason)
		f := turnedAway(x.Reason)
		return st, answerText(b, func(front sniff.Front) []byte { return front.Refuse(nil, f.answer()) })
	case x.By != "" && x.Weight > 0:
		st.Outcome = "waits"
		st.Why = fmt.Sprintf("logins have failed (weight %.1f): it is tried after %v at the earliest", x.Weight, x.Wait.Round(time.Millisecond))
	case x.By != "":
		st.Outcome = "waits"
		st.Why = "as many logins of strangers as may be are under way there: it is asked about again and again"
	case x.Known:
		st.Why = "he has logged in from there before: what others do there does not slow him"
	default:
		st.Why = "nothing that is remembered slows it"
	}
	return st, ""
}

// ExplainUser says whether a login of a user (in normal form) would be one too many of his
// on this node, which he is told once his back end has let him in.
func (srv *Server) ExplainUser(e Entry, user string) (st Step, answer string) {
	st = Step{Rule: RuleUser, Outcome: "skipped", Why: "no listener is open that uses the pool"}
	b, err := srv.binding(e)
	if err != nil || b == nil {
		return st, ""
	}
	if b.limits.PerUser <= 0 {
		st.Why = "sessions_per_user sets no limit"
		return st, ""
	}
	r := srv.sessions
	r.mu.Lock()
	f := r.sated(hashName(user), b.limits.PerUser)
	r.mu.Unlock()
	if f == nil {
		st.Outcome, st.Why = "passed", fmt.Sprintf("he has fewer than the %d sessions on this node that a user may have", b.limits.PerUser)
		return st, ""
	}
	st.Outcome, st.Why = "refuses", f.Err.Error()+" on this node: one more is refused once the password has proved right"
	return st, answerText(b, func(front sniff.Front) []byte { return front.Refuse(nil, f.answer()) })
}
