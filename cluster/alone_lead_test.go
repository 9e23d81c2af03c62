package cluster

import (
	"testing"

	"github.com/hashicorp/raft"

	"usher.example/cluster/place"
)

// An only node that has lost its lead takes it again by itself, and says again who it is.
func TestLeadIsTakenAgain(t *testing.T) {
	s := openNode(t, FleetOptions{State: t.TempDir()}, mainPool(place.Shared, 2))
	await(t, s)
	term := s.f.raft.CurrentTerm()
	now := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
	if err := s.f.self.TimeoutNow("", localAddress, &now, new(raft.TimeoutNowResponse)); err != nil {
		t.Fatal(err)
	}
	until(t, "another term", func() bool { return s.f.raft.CurrentTerm() > term && s.f.raft.State() == raft.Leader })
	until(t, "the leader hears of itself", func() bool {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		return s.f.leader != nil && s.f.leader.Term() > term && !s.f.unheard() && s.f.leader.Heard(s.f.o.Node) > 0
	})
	s.login(t, "joe")
}
