package main

import (
	"slices"
	"strings"
	"time"

	"usher.example/cluster"
)

// readyEvery is the time between two looks whether the node is ready: those who ask
// /readyz, as balancers do, ask about as often.
const readyEvery = time.Second

// restBeat is the time between two looks that are due each second in a fleet, whose nodes are
// told. Of a node alone only the log hears, and to wake the processor is most of what it
// takes at rest: it looks when tidy does.
func (n *node) restBeat() time.Duration {
	if n.fleet.Alone() {
		return tidyEvery
	}
	return readyEvery
}

// watchReady tells when what /readyz answers is another, until the node ends.
func (n *node) watchReady() {
	every := n.restBeat()
	beat := time.NewTimer(cluster.Beat(every))
	defer beat.Stop()
	var was readiness
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-beat.C:
		}
		beat.Reset(cluster.Beat(every))
		now := readiness{was.known, n.ready.Reasons(), n.ready.Degraded()}
		now.known = was.known || len(now.reasons) == 0
		now.say(was, n.log)
		was = now
	}
}

// readiness is what /readyz answers.
type readiness struct {
	known             bool // it has been ready
	reasons, degraded []string
}

// say tells what is otherwise than before.
func (r readiness) say(was readiness, log *logger) {
	if !r.known {
		return // it is being started
	}
	switch {
	case len(r.reasons) > 0 && !slices.Equal(r.reasons, was.reasons):
		log.Warn("the node is not ready", "event", "node_unready", "reasons", strings.Join(r.reasons, "; "))
	case len(r.reasons) == 0 && (!was.known || len(was.reasons) > 0):
		log.Info("the node is ready", "event", "node_ready")
	}
	switch {
	case len(r.degraded) > 0 && !slices.Equal(r.degraded, was.degraded):
		log.Warn("the node is degraded", "event", "node_degraded", "reasons", strings.Join(r.degraded, "; "))
	case len(r.degraded) == 0 && len(was.degraded) > 0:
		log.Info("the node is degraded no more", "event", "node_well")
	}
}

// sayDamped tells, once a fall, that a back end answers and is kept down. The checker
// calls it.
func (n *node) sayDamped(r *running) {
	st := r.Status()
	if st.Damped && !r.damped {
		n.log.Warn("back end answers and is kept down, as it has fallen too often", "event", "backend_damped",
			"pool", r.check.pool, "backend", r.check.backend, "until", st.Until)
	}
	r.damped = st.Damped
}
