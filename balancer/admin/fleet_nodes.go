package admin

import (
	"net/http"
	"strings"

	"usher.example/cluster"
)

// Nodes is the answer of NodesPath.
type Nodes struct {
	Nodes []cluster.FleetNode `json:"nodes"`
	// Missing tells of nodes that did not answer, so that their counts are zero.
	Missing []string `json:"missing"`
}

// NodeDrain is the order of NodeDrainPath.
type NodeDrain struct {
	Node string `json:"node"`
	Undo bool   `json:"undo,omitempty"`
	// DryRun: nothing is done, and the answer is a Plan.
	DryRun bool `json:"dry_run,omitempty"`
}

// NodeForget is the order of NodeForgetPath.
type NodeForget struct {
	Node string `json:"node"`
}

func (s *Server) nodes(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	list, err := s.o.Fleet.Nodes()
	answer(w, Nodes{list, missing(err)})
}

func (s *Server) drainNode(w http.ResponseWriter, r *http.Request) {
	var o NodeDrain
	if !order(w, r, &o) || !thing(w, "node", o.Node) {
		return
	}
	if o.DryRun {
		s.plannedDrain(w, o)
		return
	}
	err := s.o.Fleet.DrainNode(o.Node, !o.Undo)
	s.o.Log.Info("drain of a node", "event", outcomeOf(err, "node_drain_ordered", "node_drain_failed"), "peer", o.Node, "undo", o.Undo, "by", giver(r), "err", err)
	s.ordered(w, err, s.nodesHint())
}

func (s *Server) forgetNode(w http.ResponseWriter, r *http.Request) {
	var o NodeForget
	if !order(w, r, &o) || !thing(w, "node", o.Node) {
		return
	}
	for _, m := range s.o.Fleet.Overview().Members {
		if m.Node == o.Node && m.State == "alive" {
			refuse(w, http.StatusConflict, "the node is there", "stop it first: a node that runs would come back at once")
			return
		}
	}
	err := s.o.Fleet.Forget(o.Node)
	s.o.Log.Info("forget a node", "event", outcomeOf(err, "node_forgotten", "node_forget_failed"), "peer", o.Node, "by", giver(r), "err", err)
	s.ordered(w, err, s.nodesHint())
}

func (s *Server) nodesHint() string {
	var names []string
	for _, m := range s.o.Fleet.Overview().Members {
		names = append(names, m.Node)
	}
	return "there are: " + strings.Join(names, ", ")
}

// order reads an order's body; it has no parameters.
func order(w http.ResponseWriter, r *http.Request, into any) bool {
	_, ok := query(w, r)
	return ok && body(w, r, into)
}

// thing tells whether the name of something is there.
func thing(w http.ResponseWriter, what, name string) bool {
	if name == "" {
		refuse(w, http.StatusBadRequest, "which "+what+" is not said", `send {"`+what+`": "NAME"}`)
		return false
	}
	return named(w, name)
}
