package guard

import (
	"net/netip"
	"time"
)

// An Attempt is one login on its way. The caller fills in the exported fields; it
// belongs to one goroutine.
type Attempt struct {
	Client netip.Addr
	User   string // in normal form
	Digest Digest
	// Trusted: many users come from that address, as with a webmail.
	Trusted bool

	ready            bool // what follows is set
	idle             bool // is not looked at
	address, network block
	user, pair       uint64
	began            int64 // when it was asked for first
	known            bool
	proven           bool // known, and with the password that was good last time
	patience         time.Duration
	slowed           bool // has waited for the user's sake
	waiting          bool // is counted as such
	underway         bool
	paired           bool // is counted so by its pair
}

// A Verdict says what to do with a login now.
type Verdict struct {
	// Go: it may be tried.
	Go bool
	// Refuse: it is to be refused without asking the back end, after Wait. Neither:
	// Begin is to be asked again after Wait.
	Refuse bool
	Reason Reason // of a refusal
	Wait   time.Duration
}

// Begin asks whether a login may be tried. Patience is how long the caller can wait
// at most. After Go, End has to be called; else Begin again, or Leave.
func (g *Guard) Begin(now time.Time, a *Attempt, patience time.Duration) Verdict {
	g.prepare(now, a)
	if a.idle {
		return Verdict{Go: true}
	}
	t := g.nanos(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leave(a)
	a.patience = patience
	a.known, a.proven = g.known.has(a.pair, a.Digest)
	wait, ready := g.wait(a, t)
	if ready {
		return Verdict{Go: true}
	}
	return g.queue(a, t, wait, patience)
}

// prepare finds out whose a login is, once.
func (g *Guard) prepare(now time.Time, a *Attempt) {
	if a.ready {
		return
	}
	a.ready = true
	if a.idle = g.options.Load().Off || a.Trusted || g.Exempts(a.Client); !a.idle {
		a.address, a.network = AddressOf(a.Client).Addr().As16(), NetworkOf(a.Client).Addr().As16()
		a.user = g.userOf(a.User)
		a.pair = g.pairOf(a.address, a.user)
		a.began = g.nanos(now)
	}
}

// wait says how long a login has to wait, or counts it as under way.
func (g *Guard) wait(a *Attempt, t int64) (wait time.Duration, ready bool) {
	wait, _, w := g.hinder(a, t, true)
	if wait > 0 {
		return wait, false
	}
	g.start(a, w.pair)
	if !a.known {
		w.address.underway++
		w.network.underway++
	}
	return 0, true
}

// whose are the entries that a login is judged by.
type whose struct{ pair, address, network, user *entry }

// hinder says how long a login has to wait now and which memory says so. Unless it
// really comes nothing new is remembered: who is not remembered is as free as a new
// entry.
func (g *Guard) hinder(a *Attempt, t int64, comes bool) (wait time.Duration, by string, w whose) {
	if a.proven { // nobody else knows that
		w.pair = g.pairs.find(a.pair, t)
		return 0, "", w
	}
	if comes {
		w.pair = g.pairs.need(a.pair, t, 0)
	} else {
		w.pair = g.pairs.find(a.pair, t)
	}
	lanes, level := int32(pairLanes), pairRule.level(w.pair)
	if level > 0 {
		lanes = 1
	}
	wait, by = until(w.pair, level, t, lanes), ofPair
	if a.known { // others are not his business
		return wait, by, w
	}
	if comes {
		w.address, w.network = g.addresses.need(a.address, t, 0), g.networks.need(a.network, t, 0)
	} else {
		w.address, w.network = g.addresses.find(a.address, t), g.networks.find(a.network, t)
	}
	level = addressRule.level(w.address)
	if d := until(w.address, level, t, w.address.lanes(level, addressLanes, maxAddressLanes)); d > wait {
		wait, by = d, Address.String()
	}
	if wait > 0 {
		return wait, by, w
	}
	level = networkRule.level(w.network)
	if wait = until(w.network, level, t, w.network.lanes(level, networkLanes, maxNetworkLanes)); wait > 0 {
		return wait, Network.String(), w
	}
	w.user = g.users.find(a.user, t)
	if delay := min(answerDelay(userRule.level(w.user)), a.patience/2); delay > 0 && !a.slowed {
		a.slowed = true
		return delay, User.String(), w
	}
	return 0, "", w
}

func (g *Guard) start(a *Attempt, pair *entry) {
	a.underway = true
	if a.paired = pair != nil; a.paired {
		pair.underway++
	}
}

// until is when an entry lets the next one pass. A pause is over when enough users
// have logged in meanwhile, or time has passed.
func until(e *entry, level uint8, t int64, lanes int32) time.Duration {
	switch {
	case e == nil:
	case level > 0 && t < e.next:
		return time.Duration(e.next - t)
	case e.underway >= lanes:
		return crowdedAgain
	}
	return 0
}

// queue decides whether a login may wait. Who may not is told so after as long as a
// failure would take, if there is room to hold him: his next try is the later for it.
// A known pair needs none of the places of strangers.
func (g *Guard) queue(a *Attempt, t int64, wait, patience time.Duration) Verdict {
	v := Verdict{Wait: wait}
	late := wait > maxAnswer || wait > patience
	if a.known {
		if p := g.pairs.find(a.pair, t); p != nil && p.waiting >= pairQueue {
			return Verdict{Refuse: true, Reason: Crowded}
		}
	} else {
		address, network := g.addresses.find(a.address, t), g.networks.find(a.network, t)
		room := int32(cleanQueue)
		if addressRule.level(address) > 0 {
			room = penaltyQueue
		}
		switch {
		case g.held >= maxHeld:
			return Verdict{Refuse: true, Reason: Full}
		case address != nil && address.waiting >= room, network != nil && network.waiting >= networkQueue:
			return Verdict{Refuse: true, Reason: Crowded}
		}
		late = late || t-a.began > int64(2*maxAnswer)
	}
	if late {
		v = Verdict{Refuse: true, Reason: Paused, Wait: min(maxAnswer, max(patience, 0))}
	}
	g.hold(a, 1)
	return v
}

// hold counts a login as one that waits, by 1, or as none any more, by -1: a known
// pair's with itself only, so that it takes no place of others and they none of its.
func (g *Guard) hold(a *Attempt, by int32) {
	a.waiting = by > 0
	if a.known {
		g.heldKnown += int(by)
		if i, ok := g.pairs.index[a.pair]; ok {
			e := &g.pairs.slots[i].entry
			e.waiting = max(e.waiting+by, 0)
		}
		return
	}
	g.held += int(by)
	if i, ok := g.addresses.index[a.address]; ok {
		e := &g.addresses.slots[i].entry
		e.waiting = max(e.waiting+by, 0)
	}
	if i, ok := g.networks.index[a.network]; ok {
		e := &g.networks.slots[i].entry
		e.waiting = max(e.waiting+by, 0)
	}
}

// leave takes a login out of the queue. It is called with mu held.
func (g *Guard) leave(a *Attempt) {
	if a.waiting {
		g.hold(a, -1)
	}
}

// Leave says that the login waits no more: it was refused, answered or given up.
// Waited is for how long it did, altogether.
func (g *Guard) Leave(a *Attempt, waited time.Duration) {
	if waited > 0 {
		g.Stats.Delayed.Add(1)
		g.Stats.Waited.Add(int64(waited))
	}
	if !a.waiting {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leave(a)
}

// An Outcome is how a login ended that was tried.
type Outcome uint8

// Outcomes.
const (
	Neither   Outcome = iota // says nothing: the back end was not asked, or could not answer
	Succeeded                // the back end let him in
	Failed                   // the back end refused his password
	// Unanswered: the back end was asked, and then the client did not answer its
	// challenge.
	Unanswered
)

// End says how a login ended. A failure's answer has to be kept back for the delay;
// then, or if that is given up, Leave has to be called.
func (g *Guard) End(now time.Time, a *Attempt, o Outcome) (delay time.Duration) {
	if a.idle || !a.underway {
		return 0
	}
	t := g.nanos(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.finish(a, t)
	switch o {
	case Succeeded:
		g.succeeded(a, t)
	case Failed:
		delay = g.failed(a, t)
	case Unanswered:
		g.unanswered(a, t)
	case Neither:
	}
	if delay > 0 && (a.known || g.held < maxHeld) {
		g.hold(a, 1)
		return delay
	}
	return 0 // there is no room to hold him: the pause before his next try has to do
}

// finish takes a login off those under way.
func (g *Guard) finish(a *Attempt, t int64) {
	a.underway = false
	if i, ok := g.pairs.index[a.pair]; ok && a.paired {
		e := &g.pairs.slots[i].entry
		e.underway = max(e.underway-1, 0)
		if e.bad == 0 && e.idle(t) { // was made for this try
			g.pairs.drop(int(i))
		}
	}
	if a.known {
		return
	}
	if i, ok := g.addresses.index[a.address]; ok {
		e := &g.addresses.slots[i].entry
		e.underway = max(e.underway-1, 0)
	}
	if i, ok := g.networks.index[a.network]; ok {
		e := &g.networks.slots[i].entry
		e.underway = max(e.underway-1, 0)
	}
}

func (g *Guard) succeeded(a *Attempt, t int64) {
	if i, ok := g.pairs.index[a.pair]; ok {
		if e := &g.pairs.slots[i].entry; e.bad > forgiven || e.underway > 0 || e.waiting > 0 {
			e.bad /= 2 // somebody else may be guessing: a good login is no new start for him
		} else {
			g.pairs.drop(int(i))
		}
	}
	if !g.known.see(a.pair, t, a.Digest) {
		return
	}
	g.credit(a.address, a.network, t, maxWeight)
	g.news.login(a)
}

// credit counts a user who has logged in for his address and its network.
func (g *Guard) credit(address, network block, t int64, most float32) {
	if e := g.addresses.need(address, t, 0); e.good < most {
		e.good++
	}
	if e := g.networks.need(network, t, 0); e.good < most {
		e.good++
	}
}

// unanswered counts a try whose client left the back end waiting: it has held a lane,
// and was no failure that could have been counted.
func (g *Guard) unanswered(a *Attempt, t int64) {
	if a.known {
		pair := g.pairs.need(a.pair, t, 0)
		pair.owner = g.ownerOf(a.address, a.user)
		pair.bad = min(pair.bad+unansweredWeight, maxWeight)
		return
	}
	g.blame(a, t, g.addresses.need(a.address, t, 0), unansweredWeight, unansweredWeight)
}

// failed counts a failure where it belongs: that of a known pair is its own, and the
// same mistake again is none.
func (g *Guard) failed(a *Attempt, t int64) time.Duration {
	pair := g.pairs.need(a.pair, t, 0)
	pair.owner = g.ownerOf(a.address, a.user)
	if pair.remembers(a.Digest) {
		g.Stats.Repeats.Add(1)
		delay := answerDelay(1)
		pair.next = max(pair.next, t+int64(delay))
		return delay
	}
	pair.remember(a.Digest)
	another := pair.bad < nothing // user, as whom this address fails
	pair.bad = min(pair.bad+1, maxWeight)
	level := pairRule.level(pair)
	if a.known { // he has mistyped, or changed his password: never long
		pair.next = t + int64(answerDelay(level))
		return answerDelay(level)
	}
	pair.next = t + int64(pause(level))
	delay := answerDelay(level)
	address, weight := g.addresses.need(a.address, t, 0), float32(1)
	if another {
		before := address.sprays()
		if address.users++; before { // slowed as it is, it has to fade more slowly than it counts
			address.users++
		}
		address.users = min(address.users, maxWeight)
		if address.sprays() {
			weight = sprayWeight
		}
	}
	delay = max(delay, g.blame(a, t, address, weight, 1))
	if e := g.users.need(a.user, t, 0); e != nil {
		if e.name == "" && len(a.User) <= maxName {
			e.name = a.User
		}
		g.count(User, e, subject{hash: a.user}, 1)
		delay = max(delay, answerDelay(userRule.level(e)))
	}
	return delay
}

// blame counts a failure for an address and its network.
func (g *Guard) blame(a *Attempt, t int64, address *entry, weight, forNetwork float32) time.Duration {
	e := g.count(Address, address, subject{block: a.address}, weight)
	level := addressRule.level(e)
	e.next = max(e.next, t+int64(addressPause(e, level)))
	delay := answerDelay(level)
	e = g.count(Network, g.networks.need(a.network, t, 0), subject{block: a.network}, forNetwork)
	level = networkRule.level(e)
	e.next = max(e.next, t+int64(networkPause(level)))
	return max(delay, answerDelay(level))
}

// count adds a failure, and notes it for others if the level has risen.
func (g *Guard) count(k Kind, e *entry, s subject, weight float32) *entry {
	e.bad = min(e.bad+weight, maxWeight)
	g.rise(k, e, s, true)
	return e
}
