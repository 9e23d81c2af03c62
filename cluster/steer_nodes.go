package cluster

import (
	"errors"
	"fmt"
	"slices"

	"usher.example/cluster/table"
)

// FleetNode is a node as the whole fleet sees it.
type FleetNode struct {
	NodeState
	Users   int  `json:"users"` // live
	Holds   int  `json:"holds"` // their sessions and logins
	Drained bool `json:"drained,omitempty"`
	// Answered: it has told its load. One that only votes has none.
	Answered bool `json:"answered"`
}

// Nodes lists the nodes by name, also those that have never been seen and should
// vote. The error names those that did not answer.
func (f *Fleet) Nodes() ([]FleetNode, error) {
	loads, err := f.loads()
	var list []FleetNode
	for _, m := range f.Overview().Members {
		n := FleetNode{NodeState: m}
		l, answered := loads[m.Node]
		n.Answered, n.Drained = answered, l.Drained
		for id := range l.Users {
			n.Users += l.Users[id]
			n.Holds += l.Holds[id]
		}
		list = append(list, n)
	}
	for _, v := range f.o.Voters {
		if !slices.ContainsFunc(list, func(n FleetNode) bool { return n.Node == v }) {
			list = append(list, FleetNode{NodeState: NodeState{Node: v, Role: "voter", State: "absent"}})
		}
	}
	slices.SortFunc(list, func(a, b FleetNode) int { return compare(a.Node, b.Node) })
	return list, err
}

// ErrAbsent: the node is not there to take the order.
var ErrAbsent = errors.New("the node cannot be reached")

// DrainNode has a node say that it should get no new clients, or not any more.
// What it has, and what comes nevertheless, it serves.
func (f *Fleet) DrainNode(node string, on bool) error {
	if node == f.o.Node && !f.o.Witness {
		f.setDrained(on)
		return nil
	}
	p, there := f.alive()[node]
	switch {
	case there && p.Witness || node == f.o.Node:
		return fmt.Errorf("node %q only votes: %w", node, table.ErrNoMember)
	case there:
		if err := f.send(p.address, "/v1/drain", drain{on}, nil); err != nil {
			return fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table.Members[node] == nil {
		return fmt.Errorf("node %q: %w", node, table.ErrNoMember)
	}
	return fmt.Errorf("node %q: %w", node, ErrAbsent)
}

func (f *Fleet) setDrained(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained == on {
		return
	}
	f.drained = on
	f.log.Info("an administrator has set whether the node is drained", "event", map[bool]string{true: "node_drained", false: "node_resumed"}[on], "drained", on)
}
