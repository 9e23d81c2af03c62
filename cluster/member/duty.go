package member

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"usher.example/cluster/place"
	"usher.example/cluster/rule"
	"usher.example/cluster/table"
)

// Look brings the node in line with the table and the time. Its owner calls it
// after every batch of the log, after a snapshot, after a hold was released that was
// awaited, and some times a second; every two seconds if it is alone.
func (n *Node) Look(now int64) {
	n.turn()
	n.forget(now)
	n.lease(now)
	if n.o.Strict && n.cut(now) {
		n.closeAll(now)
	}
	if n.me() == nil {
		n.enter(now)
		return
	}
	if n.isolated && !n.begin(now) {
		return
	}
	n.closeOld(now) // none, if everybody was closed before keys changed
	for _, name := range slices.Sorted(maps.Keys(n.t.Pools)) {
		n.change(now, n.t.Pools[name])
	}
	n.moves(now)
	n.shut(now)
}

// shut closes what is open at back ends that an administrator has taken down, where no
// change of the view does that: with local storage one that was down by its health keeps
// its sessions, and is down in the view already. It looks at all records while there is
// such a back end, so it does not do so each time.
func (n *Node) shut(now int64) {
	if n.shutAt != 0 && now-n.shutAt < KickAgain {
		return
	}
	down := make(map[string]map[uint16]bool)
	for name, p := range n.t.Pools {
		for id := range p.Backends {
			if p.Shut(id) {
				if down[name] == nil {
					down[name] = make(map[uint16]bool)
				}
				down[name][id] = true
			}
		}
	}
	if len(down) == 0 {
		return
	}
	n.shutAt = now
	for k, r := range n.records {
		if r.holds > 0 && down[n.poolOf(r)][r.backend] {
			n.kick(now, k, r)
		}
	}
}

// forget drops records that count no longer. It looks at all of them, so it does
// not do so each time.
func (n *Node) forget(now int64) {
	if n.forgot != 0 && now-n.forgot < ForgetEvery {
		return
	}
	n.forgot = now
	for k, r := range n.records {
		if r.holds == 0 && r.seen <= now {
			delete(n.records, k)
			n.drop(r)
		}
	}
	if most := leastSpare + len(n.records); len(n.spare) > most {
		n.spare = slices.Clone(n.spare[:most])
	}
	for about, at := range n.said {
		if now-at >= 10*SayAgain {
			delete(n.said, about)
		}
	}
}

// lease looks at what was granted, and notes when a lease is over: then nothing
// but a new life helps, even if a grant arrives a moment later.
func (n *Node) lease(now int64) {
	m := n.me()
	if m != nil && n.alone() {
		n.granted = now // what it has if somebody joins
	}
	if !n.isolated && (m == nil || now >= n.deadline()) {
		n.isolated = true
		if n.o.Broken.Kept(rule.NewLife) || m == nil {
			n.newLife()
			m = n.me()
		}
	}
	if m == nil {
		if own := n.t.Members[n.o.Name]; own != nil && own.Life >= n.life && !(own.Life == n.life && own.Counted) {
			n.newLife() // somebody had that life, or ours is over
		}
		return
	}
	for _, r := range n.reports {
		if r.number <= m.Granted {
			n.granted = max(n.granted, n.begins(r, now))
		}
	}
	n.reports = slices.DeleteFunc(n.reports, func(r sent) bool { return r.number <= m.Granted })
}

// begin uses a lease as soon as there is one and what does not fit is closed. Up
// to then the node goes on alone and may let in who does not fit, so it looks each
// time.
func (n *Node) begin(now int64) bool {
	n.entered = n.fit(now)
	if now < n.deadline() && (n.entered || !n.o.Broken.Kept(rule.LeaseAfterEnter)) {
		n.isolated = false
	}
	return !n.isolated
}

// begins is when the lease of a granted report begins.
func (n *Node) begins(r sent, now int64) int64 {
	if n.o.Broken.Kept(rule.LeaseFromReport) {
		return r.at
	}
	return now
}

// enter asks for the life to be counted.
func (n *Node) enter(now int64) {
	own := n.t.Members[n.o.Name]
	if own == nil || own.Dir != n.o.Dir || n.leaving {
		return // Join comes first; the owner sends it
	}
	n.say(now, "enter", table.Enter{Node: n.o.Name, Dir: n.o.Dir, Life: n.life})
}

// fit closes every session whose place is another one or that is to have none, and
// says whether that is done.
func (n *Node) fit(now int64) bool {
	done := n.closeOld(now)
	for k, r := range n.records {
		p := n.t.Pools[n.poolOf(r)]
		if p != nil && n.t.Moving(k) == nil {
			if w := n.t.Present(p, k); w.Backend == r.backend && w.Why != "" && p.Active.Usable(r.backend) {
				continue
			}
		}
		if r.holds == 0 {
			continue // he was seen there: nothing keeps him, and the record says that he was
		}
		n.kick(now, k, r)
		done = false
	}
	return done
}

// change does what a view in preparation asks of the node.
func (n *Node) change(now int64, p *table.Pool) {
	if p.Next == nil {
		return
	}
	epoch := p.Epoch + 1
	if life, ok := p.Next.Ready[n.o.Name]; ok && life == n.life {
		return // said and written
	}
	if !n.Leased(now) {
		return
	}
	closing, staying := false, table.Users(nil)
	s := n.surveyOf(p.Name, epoch)
	left := s.left[:0]
	for _, k := range s.left {
		r := n.records[k]
		if r == nil || n.poolOf(r) != p.Name || r.checked == epoch {
			continue
		}
		switch n.t.Fate(p, k, r.backend) {
		case table.Belongs:
			r.checked = epoch
		case table.Stay:
			staying = append(staying, table.Seat{Key: k, Backend: r.backend})
		case table.Close:
			closing = n.close(now, k, r, epoch) || closing
		}
		if r.checked != epoch {
			left = append(left, k)
		}
	}
	if s.left = left; len(left) == 0 {
		s.left = nil
	}
	slices.SortFunc(staying, func(a, b table.Seat) int { return cmp.Compare(a.Key, b.Key) })
	for i := 0; i < len(staying); i += table.MaxSeats {
		part := staying[i:min(i+table.MaxSeats, len(staying))]
		n.say(now, fmt.Sprintf("stay %s %d %d", p.Name, epoch, i), table.AddStay{
			Node: n.o.Name, Life: n.life, Pool: p.Name, Epoch: epoch, Users: part,
		})
	}
	if closing && n.o.Broken.Kept(rule.ReadyAfterClose) || len(staying) > 0 && n.o.Broken.Kept(rule.ReadyAfterStays) {
		return
	}
	n.say(now, fmt.Sprintf("ready %s %d", p.Name, epoch), table.Ready{Node: n.o.Name, Life: n.life, Pool: p.Name, Epoch: epoch})
}

// close closes what a user has on a back end that will not be his place, and says
// whether there is something to close. The record outlives it: until it is
// forgotten, a move of the user has to know that he was here.
func (n *Node) close(now int64, k place.Key, r *record, epoch uint64) bool {
	if r.holds == 0 {
		r.checked = epoch
		return false
	}
	n.kick(now, k, r)
	return true
}

// moves does what users on their way ask of the node.
func (n *Node) moves(now int64) {
	for number := range n.had {
		if n.t.Moves[number] == nil {
			delete(n.had, number)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(n.t.Moves)) {
		m := n.t.Moves[number]
		if c, ok := m.Clear[n.o.Name]; ok && c.Life == n.life || !n.Leased(now) {
			continue
		}
		r := n.records[m.Key]
		if r != nil {
			n.had[number] = true
			if r.holds > 0 {
				n.kick(now, m.Key, r)
				if n.o.Broken.Kept(rule.ClearAfterClose) {
					continue
				}
			}
			if r.holds == 0 {
				delete(n.records, m.Key) // where he was is of no account any more
				n.drop(r)
			}
		} else if _, known := n.had[number]; !known {
			n.had[number] = false
		}
		n.say(now, fmt.Sprintf("clear %d", number), table.Clear{
			Node: n.o.Name, Life: n.life, Number: number, Had: n.had[number] && n.o.Broken.Kept(rule.ClearSaysHad),
		})
	}
}

// closeAll closes everything: a strict node's lease runs out.
func (n *Node) closeAll(now int64) {
	n.closeOld(now)
	for k, r := range n.records {
		if r.holds > 0 {
			n.kick(now, k, r)
		}
	}
}
