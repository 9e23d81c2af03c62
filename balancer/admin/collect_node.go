package admin

import (
	"math"

	"usher.example/cluster"
	"usher.example/health"
)

// node shows what the node may do.
func (c *collector) node(e emitter) {
	v := c.s.o.Verdict()
	for _, s := range health.States() {
		e.gauge(nodeState, truth(s == v.State), string(s))
	}
	given := make(map[health.Code]bool)
	for _, r := range v.Reasons {
		given[r.Code] = true
	}
	for _, r := range health.Codes() {
		e.gauge(nodeReason, truth(given[r.Code]), string(r.Code))
	}
	open := make(map[string]bool)
	for _, l := range c.s.o.Node.Listeners() {
		open[l.Name] = true
	}
	for name, st := range c.s.o.Node.Stats() {
		e.gauge(listenerOpen, truth(open[name]), name, st.Protocol)
	}
	b := c.s.o.Node.Bound()
	e.gauge(bound, float64(b.Sessions), "any")
	e.gauge(bound, float64(b.Prelogin), "login")
	c.fleet(e)
}

// fleet shows the fleet as this node sees it.
func (c *collector) fleet(e emitter) {
	var o cluster.Overview
	var missing, differs int
	g := cluster.Gauges{Alone: true}
	if f := c.s.o.Fleet; f != nil {
		o, g, missing, differs = f.Overview(), f.Gauges(), len(f.MissingVoters()), len(f.Differences())
	}
	alive := 0
	for _, m := range o.Members {
		if m.State == "alive" {
			alive++
		}
	}
	e.gauge(fleetMembers, float64(alive), "alive")
	e.gauge(fleetMembers, float64(len(o.Members)-alive), "absent")
	e.gauge(fleetVoters, float64(missing))
	e.gauge(fleetQuorum, truth(o.Quorum))
	e.gauge(fleetLeader, truth(o.Quorum && o.Leader == o.Node))
	e.gauge(fleetAlone, truth(o.Isolated))
	e.counter(fleetLosses, g.Isolations)
	lease := g.Lease.Seconds()
	if g.Alone {
		lease = math.Inf(1)
	}
	e.gauge(fleetLease, lease)
	e.counter(fleetViews, g.Views)
	e.gauge(fleetChanges, float64(len(o.Changes)))
	e.gauge(fleetMoves, float64(o.Moves))
	e.gauge(fleetPins, float64(o.Pins))
	e.gauge(fleetStays, float64(o.Stays))
	e.counter(fleetHeld, g.Held)
	e.gauge(fleetDiffers, float64(differs))
}
