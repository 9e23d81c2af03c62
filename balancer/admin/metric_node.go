package admin

import (
	"usher.example/health"
)

// Metrics about what a node may do, and of its fleet.
var (
	nodeState = newMetric(gauge, "usher_state", "1 for the state that /readyz sums the node up as, 0 for others. Users may be sent to one that is ready or degraded.",
		label{"state", values(stateNames()...)})
	nodeReason = newMetric(gauge, "usher_reason", "1 for each code that /readyz gives, 0 for others.",
		label{"code", "see [monitoring.md](monitoring.md#reasons)"})
	listenerOpen = newMetric(gauge, "usher_listener_open", "Whether the listener accepts connections.", byListener, byProto)
	bound        = newMetric(gauge, "usher_connections_limit", "How many client connections may be at a time, all listeners together.",
		label{"state", "`any`: logged in or not (limits.sessions); `login`: not logged in (limits.prelogin)"})

	fleetMembers = newMetric(gauge, "usher_fleet_members", "Nodes of the fleet, this one and witnesses included, as this node sees them.",
		label{"state", "`alive`; `absent`: not heard of, and not forgotten"})
	fleetVoters  = newMetric(gauge, "usher_fleet_missing_voters", "Voters that this node does not see.")
	fleetQuorum  = newMetric(gauge, "usher_fleet_quorum", "Whether somebody leads the fleet, so that something can be changed.")
	fleetLeader  = newMetric(gauge, "usher_fleet_leader", "Whether this node leads the fleet.")
	fleetAlone   = newMetric(gauge, "usher_fleet_isolated", "Whether this node has lost its fleet, so that its word does not count.")
	fleetLosses  = newMetric(counter, "usher_fleet_isolations_total", "Times that this node has lost its fleet.")
	fleetLease   = newMetric(gauge, "usher_fleet_lease_seconds", "How long this node's word still counts unless it is renewed, as it is all the time; `+Inf` for a node that is alone.")
	fleetViews   = newMetric(counter, "usher_fleet_view_changes_total", "Changes of the back ends that users are placed by, of all pools, since the node has joined the fleet.")
	fleetChanges = newMetric(gauge, "usher_fleet_changing_pools", "Pools whose view is changing now.")
	fleetMoves   = newMetric(gauge, "usher_fleet_moves", "Users who are being moved now.")
	fleetPins    = newMetric(gauge, "usher_fleet_pins", "Users who are pinned.")
	fleetStays   = newMetric(gauge, "usher_fleet_stays", "Users who stay elsewhere than at home until they have gone.")
	fleetHeld    = newMetric(counter, "usher_fleet_held_logins_total", "Logins that had to wait for a change of the view or a move.")
	fleetDiffers = newMetric(gauge, "usher_fleet_differing_nodes", "Nodes whose configuration says otherwise than the fleet does.")
)

// nodeMetrics are all of them, in the order of the manual.
var nodeMetrics = []*metric{
	nodeState, nodeReason, listenerOpen, bound,
	fleetMembers, fleetVoters, fleetQuorum, fleetLeader, fleetAlone, fleetLosses, fleetLease, fleetViews, fleetChanges, fleetMoves, fleetPins, fleetStays, fleetHeld, fleetDiffers,
}

func stateNames() []string {
	var names []string
	for _, s := range health.States() {
		names = append(names, string(s))
	}
	return names
}
