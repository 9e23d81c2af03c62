package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// forgetAfter is how long a new leader takes no node without a vote for forgotten: it
// may have been started together with the other voters, and none of them knows of the
// node until it asks one of them.
const forgetAfter = 2 * rejoinEvery

// admit brings raft's servers in line with who is there.
func (f *Fleet) admit() {
	future := f.raft.GetConfiguration()
	if future.Error() != nil {
		return
	}
	servers := future.Configuration().Servers
	known := make(map[raft.ServerID]raft.Server)
	for _, s := range servers {
		known[s.ID] = s
	}
	alive := f.alive()
	for _, s := range servers {
		if f.gone(s, alive) {
			if f.raft.RemoveServer(s.ID, 0, applyTime).Error() != nil {
				return
			}
			f.log.Info("a node that was forgotten is no part of the fleet's log any more", "event", "node_removed", "server", s.ID)
		}
	}
	for _, name := range sortedKeys(alive) {
		p := alive[name]
		if f.stranger(name, p) {
			continue
		}
		id := serverID(name, p.Dir)
		s, ok := known[id]
		var err error
		switch {
		case !ok:
			if old := f.former(servers, name, id); old != "" {
				err = f.raft.RemoveServer(old, 0, applyTime).Error()
			}
			if err == nil {
				err = f.raft.AddNonvoter(id, raft.ServerAddress(p.address), 0, applyTime).Error()
			}
			f.log.Info("a node is admitted to the fleet", "event", "node_admitted", "peer", name, "address", p.address, "err", err)
		case string(s.Address) != p.address && s.Suffrage == raft.Voter:
			err = f.raft.AddVoter(id, raft.ServerAddress(p.address), 0, applyTime).Error()
		case string(s.Address) != p.address:
			err = f.raft.AddNonvoter(id, raft.ServerAddress(p.address), 0, applyTime).Error()
		case f.voter(name) && s.Suffrage != raft.Voter && f.caughtUp(name):
			err = f.raft.AddVoter(id, s.Address, 0, applyTime).Error()
			f.log.Info("a node votes", "event", "voter_added", "peer", name, "err", err)
		case !f.voter(name) && s.Suffrage == raft.Voter && name != f.o.Node:
			err = f.raft.DemoteVoter(id, 0, applyTime).Error()
			f.log.Info("a node votes no more", "event", "voter_removed", "peer", name, "err", err)
		}
		if err != nil {
			return // not the leader any more, most likely
		}
	}
}

// gone says whether a server of the log is a node that was forgotten.
func (f *Fleet) gone(s raft.Server, alive map[string]peer) bool {
	node, _, _ := cutID(s.ID)
	if _, there := alive[node]; there || f.voter(node) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Suffrage != raft.Voter && time.Duration(bootTime()-f.led) < forgetAfter {
		return false // a witness that does not vote is in no table
	}
	return f.table.Members[node] == nil
}

// former finds the server that a node was before it lost its directory.
func (f *Fleet) former(servers []raft.Server, name string, now raft.ServerID) raft.ServerID {
	for _, s := range servers {
		if node, _, _ := cutID(s.ID); node == name && s.ID != now {
			return s.ID
		}
	}
	return ""
}

// caughtUp says whether a node has nearly all of the log.
func (f *Fleet) caughtUp(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p, ok := f.alive()[name]; ok && p.Witness {
		return true // it reports nothing; raft itself waits for it
	}
	r, ok := f.extra[name]
	return ok && r.applied+fewBehind >= f.raft.CommitIndex()
}
