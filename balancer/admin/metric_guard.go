package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher.example/balancer/guard"
)

// The metrics about failed logins.
var (
	byKind    = label{"kind", values(guard.Kinds()...)}
	byMemory  = label{"memory", values(guard.Memories()[:3]...) + "; `pair`: of an address and a user that have failed; `known`: that have logged in"}
	penalties = newMetric(gauge, "usher_penalties",
		"Addresses, networks and users whose next logins are slowed since many have failed.", byKind)
	delayedLogins = newMetric(counter, "usher_delayed_logins_total", "Logins that were kept waiting, before they were tried or before a failure was answered.")
	delaySeconds  = newMetric(counter, "usher_login_delay_seconds_total", "How long they waited, all together.")
	heldLogins    = newMetric(gauge, "usher_held_logins", "Logins that wait now.")
	refusedLogins = newMetric(counter, "usher_refused_logins_total", "Logins refused by usher and not by a back end.",
		label{"reason", "`paused`: the next try from there is allowed later than a client waits; `crowded`: too many from there wait already; `full`: too many wait at all; `user_sessions`: he has proved who he is, and has as many sessions here as he may"})
	repeatedLogins  = newMetric(counter, "usher_repeated_failures_total", "Failed logins with what had failed for that user from there before; they are not counted against anybody.")
	learntPenalties = newMetric(counter, "usher_learnt_penalties_total", "Penalties taken over from other nodes.")
	guardEntries    = newMetric(gauge, "usher_guard_entries", "Entries in the memory of logins.", byMemory)
	guardCapacity   = newMetric(gauge, "usher_guard_capacity", "Entries that it has room for; then the lightest of some makes room.", byMemory)
)

func (c *collector) guard(e emitter) {
	g := c.s.o.Guard
	counts := g.Penalties()
	for i, kind := range guard.Kinds() {
		e.gauge(penalties, float64(counts[i]), kind)
	}
	e.counter(delayedLogins, g.Stats.Delayed.Load())
	e.constant(delaySeconds, prometheus.CounterValue, time.Duration(g.Stats.Waited.Load()).Seconds(), nil)
	e.gauge(heldLogins, float64(g.Held()))
	for i, reason := range guard.Reasons() {
		e.counter(refusedLogins, g.Stats.Refused[i].Load(), reason)
	}
	e.counter(repeatedLogins, g.Stats.Repeats.Load())
	e.counter(learntPenalties, g.Stats.Learnt.Load())
	sizes := g.Sizes()
	for _, memory := range guard.Memories() {
		e.gauge(guardEntries, float64(sizes[memory][0]), memory)
		e.gauge(guardCapacity, float64(sizes[memory][1]), memory)
	}
}
