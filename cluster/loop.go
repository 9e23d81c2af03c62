package cluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
	"usher.example/cluster/table"
)

const (
	// lookEvery is the time between two looks while a move, a change or a login waits
	// for one, and restEvery while nothing does: what comes has a look at once.
	lookEvery = 20 * time.Millisecond
	restEvery = 100 * time.Millisecond
	// aloneEvery is restEvery of an only node, whose lease has no end and who hears
	// from nobody: for what it forgets and what it says again. It is less than what a
	// report is good for, see ballots.
	aloneEvery = 2 * time.Second
	// aloneCalm is how long nothing has happened then: what was said is in the table,
	// or has been said again.
	aloneCalm = 3 * time.Second
	// reconcileEvery is the time between two looks at who should be in the fleet. Who is
	// alone looks with what else he does, every aloneEvery.
	reconcileEvery = time.Second
	// judgeAfter is how long a new leader hears reports before it judges back ends:
	// the first to report may be the one that sees none.
	judgeAfter = 3 * member.ReportEvery
	// reportAgain is after how long a report is sent again that nobody took: the
	// leader may not have been ready.
	reportAgain = 100 * time.Millisecond
	// sayTime bounds one attempt to say something that is said again anyway.
	sayTime = 2 * time.Second
	// fewBehind is how many entries a node may be behind that is to vote.
	fewBehind = 64
)

// keep is the loop: it looks and reports. Nothing in it waits for another node:
// the lease hangs on it.
func (f *Fleet) keep() {
	tick := time.NewTimer(lookEvery)
	defer tick.Stop()
	var reported int64
	var leader raft.ServerID
	var life uint64
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
		case <-f.poke:
		}
		f.look()
		tick.Reset(f.pace())
		f.keepFleet()
		f.watch()
		_, who := f.raft.LeaderWithID()
		f.mu.Lock()
		now := bootTime()
		due := now-reported >= member.ReportEvery || who != leader || life != f.node.Life() || f.untold || f.unheard() ||
			f.untaken && now-reported >= int64(reportAgain)
		if due {
			f.untold, f.untaken = false, false
		}
		if who != leader && who != "" { // what was said to nobody is said at once
			f.joined = 0
			f.node.SayAll()
			f.wake()
		}
		leader, life = who, f.node.Life()
		f.mu.Unlock()
		if due && !f.o.Witness && f.unkept == 0 { // a report names the life, which must be on disk
			reported = now
			f.report()
		}
	}
}

// unheard says that this node leads and has not heard of itself: what it said before its
// name was in the table was lost. It is called with mu held.
func (f *Fleet) unheard() bool {
	m := f.table.Members[f.o.Node]
	return f.leader != nil && !f.o.Witness && m != nil && m.Dir == f.dir.id && f.leader.Heard(f.o.Node) == 0
}

// pace is the time between two looks.
func (f *Fleet) pace() time.Duration {
	switch {
	case f.busy():
		return lookEvery
	case f.gossip == nil && bootTime()-f.stirred.Load() >= int64(aloneCalm):
		return Beat(aloneEvery)
	}
	return restEvery
}

// busy says whether anything waits for a look.
func (f *Fleet) busy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.table.Moves) > 0 || f.table.Settling != nil || f.held > 0 || !f.leased && !f.o.Witness {
		return true
	}
	for _, p := range f.table.Pools {
		if p.Next != nil {
			return true
		}
	}
	return false
}

// manage is what a leader does that may wait: for its own election, and for the
// fleet to be as it should.
func (f *Fleet) manage() {
	every := reconcileEvery
	if f.gossip == nil {
		every = aloneEvery
	}
	tick := time.NewTimer(reconcileEvery + Beat(every)) // at the start all is new
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case on := <-f.leads:
			if !on {
				f.running.Go(f.elect)
			}
			f.lead(on)
			f.reconcile()
		case <-f.told:
			f.reconcile()
		case <-tick.C:
			tick.Reset(Beat(every))
			f.unplaced()
			f.reconcile()
		}
		if !f.saidState && !f.fresh() {
			f.saidState = true
			f.tell() // that we have a log: who starts without one must not found another fleet
		}
	}
}

// look has node and leader look, and does what they want done.
func (f *Fleet) look() {
	f.mu.Lock()
	now := bootTime()               // under the lock: who was stopped before it must not look with an old time
	before := f.leased              // by the last look: at this one a lease may have run out by itself
	if !before && f.gossip != nil { // who is alone waits for the end of his last life instead
		f.node.See(f.seenDown())
	}
	if !f.o.Witness {
		f.node.Look(now)
		f.join(now)
	}
	e := f.node.Effects()
	until := f.node.Deadline()
	f.leased = f.node.Leased(now)
	lost, regained := before && !f.leased, !before && f.leased && f.lostOnce
	f.lostOnce = f.lostOnce || lost
	sayViews := f.sayViews()
	f.countViews()
	commands := e.Commands
	if f.leader != nil {
		commands = append(commands, f.leader.Look(now)...)
		f.flush(f.leader, f.leader.Flushes())
	}
	f.nameOwing(now)
	kicks := f.kicks(e.Kicks)
	if before != f.leased {
		f.news()
	}
	f.mu.Unlock()

	sayViews()
	if lost {
		f.stats.Isolated.Add(1)
		f.log.Warn("the node has lost its fleet: its word does not count until it has entered anew", "event", "node_isolated", "strict", f.o.Strict)
	}
	if regained {
		f.log.Info("the node is part of its fleet again", "event", "node_rejoined")
	}
	if f.o.Strict && f.o.Local != nil {
		f.o.Local.Gate(until)
	}
	for at, holds := range kicks {
		f.stats.Kicks.Add(1)
		if f.o.Local != nil && len(holds) > 0 {
			f.o.Local.Leave(at.pool, at.backend, holds)
		}
	}
	if e.Persist != 0 {
		f.unkept = e.Persist
	}
	if f.unkept != 0 {
		if err := f.dir.keepLife(f.unkept); err != nil {
			f.complain("the node's life is not kept; it cannot enter its fleet", err)
			return // what it would say names that life
		}
		f.unkept = 0
	}
	for _, c := range commands {
		f.queue(c)
	}
}

// complain logs a fault that is tried again at each look, once a minute.
func (f *Fleet) complain(what string, err error) {
	if now := bootTime(); f.complained == 0 || now-f.complained > int64(complainEvery) {
		f.complained = now
		f.log.Error(what, "event", "life_not_kept", "err", err)
	}
}

// seenDown are the back ends that this node's own probes do not reach. It is called
// with mu held.
func (f *Fleet) seenDown() map[uint16]bool {
	down := make(map[uint16]bool)
	for _, p := range f.table.Pools { // nobody could be let in by its name
		for id := range p.Backends {
			if !f.reaches(p, id) {
				down[id] = true
			}
		}
	}
	for pool, verdicts := range f.health {
		if p := f.table.Pools[pool]; p != nil {
			for id, b := range p.Backends {
				if up, looked := verdicts[b.Name]; looked && !up {
					down[id] = true
				}
			}
		}
	}
	return down
}

// A kick is what has to be closed on a back end.
type kick struct{ pool, backend string }

// kicks joins what has to be closed by back end: many users may leave one at once.
// It is called with mu held.
func (f *Fleet) kicks(list []member.Kick) map[kick][]uint64 {
	if len(list) == 0 {
		return nil
	}
	out := make(map[kick][]uint64)
	for _, k := range list {
		name := ""
		if p := f.table.Pools[k.Pool]; p != nil {
			name = nameOf(p, k.Backend)
		}
		at := kick{k.Pool, name}
		out[at] = append(out[at], k.Holds...)
	}
	return out
}

// nameOf is the name of a back end by id, also of one that is only in a view.
func nameOf(p *table.Pool, id uint16) string {
	if b := p.Backends[id]; b != nil {
		return b.Name
	}
	if b, ok := p.Active.Find(id); ok {
		return b.Name
	}
	return ""
}

// join makes the node known to its fleet. It is called with mu held.
func (f *Fleet) join(now int64) {
	m := f.table.Members[f.o.Node]
	address := f.address()
	if m != nil && m.Dir == f.dir.id && m.Address == address || f.joined != 0 && now-f.joined < member.SayAgain {
		return
	}
	f.joined = now
	f.queue(table.Join{Node: f.o.Node, Dir: f.dir.id, Address: address, Witness: f.o.Witness})
}

func (f *Fleet) address() string {
	if f.port == nil {
		return localAddress
	}
	return f.port.advertise.String()
}

// lead notes that we lead or do no more.
func (f *Fleet) lead(on bool) {
	if !on {
		f.mu.Lock()
		was := f.leader != nil
		f.leader = nil
		f.node.Sole(false)
		clear(f.extra)
		f.mu.Unlock()
		f.wake()
		if was {
			f.log.Info("another node leads the fleet, or nobody", "event", "leader_resigned")
		}
		return
	}
	if err := f.barrier(); err != nil {
		f.log.Debug("elected, but not for long", "err", err)
		return
	}
	term := f.raft.CurrentTerm()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leader != nil && f.leader.Term() == term {
		return
	}
	f.leader = lead.New(f.leaderOptions(), f.table, term, bootTime())
	if f.gossip == nil {
		f.leader.Sole(f.o.Node)
		f.node.Sole(true)
	}
	f.leader.Expect(f.filed.marks)
	f.untold = true // it hears of itself at once
	f.defined, f.led = "", bootTime()
	clear(f.extra)
	f.wake()
	if f.gossip != nil {
		f.log.Info("this node leads the fleet", "event", "leader_elected", "term", term)
	}
}

// report tells the leader that we are there.
func (f *Fleet) report() {
	f.mu.Lock()
	now := bootTime()
	m := message{Report: f.node.Report(now, f.leaving), Applied: max(f.applied, f.raft.AppliedIndex()), Fit: f.well()}
	m.Verdicts, m.Observes = f.verdicts()
	leads := f.leader != nil
	f.mu.Unlock()
	if leads {
		f.reported(m)
		return
	}
	address, _ := f.raft.LeaderWithID()
	if address == "" {
		return
	}
	f.running.Go(func() {
		if f.port == nil || f.send(string(address), "/v1/report", m, nil) != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.untaken = true
		}
	})
}

// well says whether by gossip's own measure this node hears what it should. It is
// called with mu held.
func (f *Fleet) well() bool { return f.gossip == nil || f.gossip.GetHealthScore() == 0 }

// reported takes a report while we lead.
func (f *Fleet) reported(m message) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := bootTime()
	if f.leader == nil {
		return false
	}
	f.leader.Report(now, m.Report)
	if !maps.EqualFunc(f.extra[m.Node].verdicts, m.Verdicts, maps.Equal[map[string]bool]) {
		f.tellManager() // there is something to judge
	}
	f.extra[m.Node] = reported{now, m.Applied, m.Verdicts, m.Observes, m.Fit}
	if f.gossip == nil {
		f.lookNow() // we say that at each look, and nothing happens
	} else {
		f.wake()
	}
	return true
}

// deliverers is how many commands are on their way to the leader at a time. None of
// them builds on another one that is not in the table yet, and raft writes to the disk
// once for all that come together.
const deliverers = 8

// queue has a command sent. Leases hang on grants, so these do not wait in line with
// what a thousand moves say.
func (f *Fleet) queue(c table.Command) {
	box := f.outbox
	if _, grant := c.(table.Grant); grant {
		box = f.grants
	}
	select {
	case box <- c:
	default: // it is said again
	}
}

// deliver sends commands to the leader, one after the other.
func (f *Fleet) deliver(box <-chan table.Command) {
	for {
		select {
		case <-f.ctx.Done():
			return
		case c := <-box:
			err := f.proposeWithin(c, sayTime)
			if err != nil && !errors.Is(err, ErrNoLeader) {
				f.log.Debug("a command did nothing", "command", fmt.Sprintf("%T", c), "err", err)
			}
		}
	}
}

// reconcile has the leader look after what follows from the configuration and
// from who is there.
func (f *Fleet) reconcile() {
	f.mu.Lock()
	leader := f.leader
	var commands []table.Command
	if leader != nil {
		commands = append(f.define(leader.Term()), f.judge(leader.Term(), bootTime())...)
		f.disagreements()
	}
	f.mu.Unlock()
	if leader == nil {
		return
	}
	if f.o.Witness && len(f.alive()) > 1 {
		// It knows no configuration: somebody who does should lead.
		if err := f.raft.LeadershipTransfer().Error(); err == nil {
			return
		}
	}
	for _, c := range commands {
		err := f.propose(c)
		if _, defined := c.(table.Define); defined && err == nil {
			f.tellManager() // what is new can be judged at once
		}
		if err != nil {
			f.mu.Lock()
			f.defined = "" // it is said again
			f.mu.Unlock()
			f.log.Warn("the fleet does not take what this node's configuration says", "event", "config_refused", "err", err)
		}
	}
	f.sealTickets()
	f.pins()
	if f.gossip != nil {
		f.admit()
	}
}

// describe tells configurations apart, but for the pins, which go by their marks.
func describe(pools []Pool) string {
	var s strings.Builder
	for _, p := range pools {
		fmt.Fprintf(&s, "%q %v %+v\n", p.Name, p.Storage, p.Backends)
	}
	return s.String()
}

// define is what this node's configuration has to say to the fleet while it leads.
// It is called with mu held.
func (f *Fleet) define(term uint64) []table.Command {
	if f.pools == nil {
		return nil // a witness, or not configured yet
	}
	if f.outdated() {
		return nil // whoever made them is about to make them anew, and tells
	}
	var kept strings.Builder
	for _, p := range f.pools {
		for _, s := range f.kept(p) {
			fmt.Fprintf(&kept, "%q %q %+v\n", p.Name, s.Name, s)
		}
	}
	var settings *table.Settings
	if f.table.Settings.Number == 0 {
		settings = f.settings()
	}
	if f.reseal && f.table.Settling == nil {
		settings = f.resealed()
	}
	what := f.described + kept.String()
	if what == f.defined && settings == nil {
		return nil
	}
	f.defined = what
	d := table.Define{Term: term, At: time.Now().Unix(), Settings: settings}
	for _, p := range f.pools {
		dp := table.Defined{Name: p.Name, Storage: p.Storage}
		for _, b := range p.Backends {
			if b.Pending {
				continue
			}
			up, looked := f.health[p.Name][b.Name]
			dp.Backends = append(dp.Backends, table.Server{Name: b.Name, Address: b.Address, Weight: b.Weight, Down: looked && !up})
		}
		dp.Backends = append(dp.Backends, f.kept(p)...)
		d.Pools = append(d.Pools, dp)
	}
	return []table.Command{d}
}

// judge takes the votes about back ends. It is called with mu held.
func (f *Fleet) judge(term uint64, now int64) []table.Command {
	var out []table.Command
	if f.gossip != nil && now-f.led < judgeAfter {
		return nil
	}
	counting, wanted := fit(f.ballots(now), f.standing()), min(len(f.inService()), MaxObservers)
	for _, name := range sortedKeys(f.table.Pools) {
		p := f.table.Pools[name]
		v := table.Verdict{Term: term, Pool: name, Up: make(map[uint16]bool), At: time.Now().Unix()}
		for id, b := range p.Backends {
			if b.Removed {
				continue
			}
			if up, ok := judged(site{name, b.Name}, counting, wanted); ok && up != b.Up {
				v.Up[id] = up
				f.log.Info("the fleet's verdict about a back end", "event", map[bool]string{true: "backend_verdict_up", false: "backend_verdict_down"}[up], "pool", name, "backend", b.Name, "up", up)
			}
		}
		if len(v.Up) > 0 {
			out = append(out, v)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func mkdir(path string) error { return os.MkdirAll(path, 0o700) }
