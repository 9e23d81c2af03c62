package admin

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"usher.example/cluster"
)

// nodes shows every node of the fleet, also those that are not there.
func (b *Board) nodes(w *watcher, view cluster.Overview, parts map[string]cluster.Part) {
	members := slices.Clone(view.Members)
	for _, v := range b.Fleet.Missing { // it may never have been there
		if !slices.ContainsFunc(members, func(m cluster.NodeState) bool { return m.Node == v }) {
			members = append(members, cluster.NodeState{Node: v, Role: "voter", State: "absent"})
		}
	}
	slices.SortFunc(members, func(a, c cluster.NodeState) int { return strings.Compare(a.Node, c.Node) })
	for _, m := range members {
		n := BoardNode{Name: clip(m.Node), Address: clip(m.Address), Role: m.Role, Leads: m.Leads, Reasons: []string{}}
		p, answered := parts[m.Node]
		n.Drained = p.Drained
		if looks := w.seen[m.Node]; len(looks) > 0 {
			n.tell(looks, b.Time, answered)
		}
		n.state(m, answered)
		b.Nodes = append(b.Nodes, n)
	}
}

// tell shows what a node has told last. Rates and use are of now, so they are shown
// of one that answers only.
func (n *BoardNode) tell(looks []look, now time.Time, answered bool) {
	last := looks[len(looks)-1]
	age, p := now.Sub(last.at).Seconds(), &last.part
	n.Age, n.Version, n.Uptime = &age, p.Version, p.Uptime
	n.Sessions, n.Prelogin, n.Memory, n.Files, n.MaxFiles = p.Sessions, p.Prelogin, p.Memory, p.Files, p.MaxFiles
	for i := range p.Backends {
		n.Users += p.Backends[i].Users
	}
	if !answered {
		return
	}
	n.Logins = rate(looks, func(p *nodePart) float64 { return float64(p.Logins) })
	n.Failures = rate(looks, func(p *nodePart) float64 { return float64(p.Failures) })
	n.CPU = rate(looks, func(p *nodePart) float64 { return p.CPU })
	switch {
	case p.Stopping:
		n.State, n.Reasons = NodeDraining, []string{"it is being stopped"}
	case n.Drained:
		n.State, n.Reasons = NodeDraining, p.Reasons
	case len(p.Reasons) > 0:
		n.State, n.Reasons = NodeUnready, p.Reasons
	case len(p.Degraded) > 0:
		n.State, n.Reasons = NodeDegraded, p.Degraded
	default:
		n.State = NodeReady
	}
}

// state says how a node is that has not told it itself.
func (n *BoardNode) state(m cluster.NodeState, answered bool) {
	switch {
	case m.State != "alive":
		n.State, n.Reasons = NodeAbsent, []string{"the other nodes do not see it"}
	case m.Role == "witness":
		n.State = NodeWitness
	case !answered || n.State == "":
		n.State, n.Reasons = NodeSilent, []string{"it is seen, and does not answer"}
	}
	for _, owed := range m.Owes {
		if n.Reasons = append(n.Reasons, "others wait for it: "+clip(owed)); len(n.Reasons) >= maxReasons {
			break
		}
	}
}

// certificates shows those of all nodes that answer, once each.
func (b *Board) certificates(w *watcher, parts map[string]cluster.Part) {
	at := make(map[string]int)
	for i := range b.Nodes {
		node := b.Nodes[i].Name
		looks := w.seen[node]
		if _, answered := parts[node]; !answered || len(looks) == 0 {
			continue
		}
		for _, c := range looks[len(looks)-1].part.Certificates {
			key := strings.Join([]string{c.ID, c.Source, c.Problem, c.NotAfter.String(), strings.Join(c.Names, " ")}, "\x00")
			if j, known := at[key]; known {
				b.Certificates[j].Nodes = append(b.Certificates[j].Nodes, node)
				continue
			}
			at[key] = len(b.Certificates)
			c.Nodes = []string{node}
			b.Certificates = append(b.Certificates, c)
		}
	}
	sortCerts(b.Certificates)
	b.Certificates = b.Certificates[:min(len(b.Certificates), maxBoardCerts)]
}

// sum adds up what the nodes have that answer.
func (b *Board) sum() {
	t := &b.Totals
	for i := range b.Nodes {
		n := &b.Nodes[i]
		if n.State == NodeWitness || n.Role == "witness" {
			continue
		}
		t.Nodes++
		switch n.State {
		case NodeReady, NodeDegraded:
			t.NodesReady++
		case NodeSilent, NodeAbsent:
			continue
		}
		t.Users, t.Sessions = t.Users+n.Users, t.Sessions+n.Sessions
		t.Logins, t.Failures = add(t.Logins, n.Logins), add(t.Failures, n.Failures)
	}
	for i := range b.Backends {
		if b.Backends[i].State == "removed" {
			continue
		}
		t.Backends++
		if b.Backends[i].Up {
			t.BackendsUp++
		}
	}
	slices.SortStableFunc(b.Backends, func(x, y BoardBackend) int {
		return cmp.Or(strings.Compare(x.Pool, y.Pool), strings.Compare(x.Name, y.Name))
	})
}
