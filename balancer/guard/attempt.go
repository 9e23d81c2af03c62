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
	slowed           bool // has waited for the user's sake
	waiting          bool // is counted as such
	underway         bool
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
	a.known = g.known.has(a.pair)
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
	wait, _, w := g.hinder(a, t, g.need)
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

// need has an entry of an address or network made if there is none.
func (g *Guard) need(tab *table[block], b block, t int64) *entry { return tab.need(b, t, 0) }

// look leaves everything as it is: who is not remembered is as free as a new entry.
func (g *Guard) look(tab *table[block], b block, t int64) *entry { return tab.find(b, t) }

// hinder says how long a login has to wait now and which memory says so. Entries of
// addresses and networks are had from get: need, or look if nobody comes.
func (g *Guard) hinder(a *Attempt, t int64, get func(*table[block], block, int64) *entry) (wait time.Duration, by string, w whose) {
	if w.pair = g.pairs.find(a.pair, t); w.pair != nil {
		wait, by = until(w.pair, pairRule.level(w.pair), t, 1), ofPair
	}
	if a.known { // others are not his business
		return wait, by, w
	}
	w.address = get(&g.addresses, a.address, t)
	level := addressRule.level(w.address)
	if d := until(w.address, level, t, w.address.lanes(level, addressLanes, maxAddressLanes)); d > wait {
		wait, by = d, Address.String()
	}
	if wait > 0 {
		return wait, by, w
	}
	w.network = get(&g.networks, a.network, t)
	level = networkRule.level(w.network)
	if wait = until(w.network, level, t, w.network.lanes(level, networkLanes, maxNetworkLanes)); wait > 0 {
		return wait, Network.String(), w
	}
	w.user = g.users.find(a.user, t)
	if delay := answerDelay(userRule.level(w.user)); delay > 0 && !a.slowed {
		a.slowed = true
		return delay, User.String(), w
	}
	return 0, "", w
}

func (g *Guard) start(a *Attempt, pair *entry) {
	a.underway = true
	if pair != nil {
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
func (g *Guard) queue(a *Attempt, t int64, wait, patience time.Duration) Verdict {
	address := g.addresses.find(a.address, t) // nil only for a known pair
	room := int32(cleanQueue)
	if addressRule.level(address) > 0 {
		room = penaltyQueue
	}
	v := Verdict{Wait: wait}
	switch {
	case g.held >= maxHeld:
		return Verdict{Refuse: true, Reason: Full}
	case address != nil && address.waiting >= room:
		return Verdict{Refuse: true, Reason: Crowded}
	case wait > maxAnswer, wait > patience, t-a.began > int64(2*maxAnswer):
		v = Verdict{Refuse: true, Reason: Paused, Wait: min(maxAnswer, max(patience, 0))}
	}
	if address != nil {
		address.waiting++
	}
	g.held++
	a.waiting = true
	return v
}

// leave takes a login out of the queue. It is called with mu held.
func (g *Guard) leave(a *Attempt) {
	if !a.waiting {
		return
	}
	a.waiting = false
	g.held--
	if i, ok := g.addresses.index[a.address]; ok {
		g.addresses.slots[i].waiting = max(g.addresses.slots[i].waiting-1, 0)
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
	g.finish(a)
	switch o {
	case Succeeded:
		g.succeeded(a, t)
	case Failed:
		delay = g.failed(a, t)
	case Neither:
	}
	if delay > 0 && g.held < maxHeld {
		g.held++
		a.waiting = true
		if e := g.addresses.find(a.address, t); e != nil {
			e.waiting++
		}
		return delay
	}
	return 0 // there is no room to hold him: the pause before his next try has to do
}

// finish takes a login off those under way.
func (g *Guard) finish(a *Attempt) {
	a.underway = false
	if i, ok := g.pairs.index[a.pair]; ok {
		e := &g.pairs.slots[i].entry
		e.underway = max(e.underway-1, 0)
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
		g.pairs.drop(int(i))
	}
	if !g.known.see(a.pair, t) {
		return
	}
	if e := g.addresses.need(a.address, t, 0); e.good < maxWeight {
		e.good++
	}
	if e := g.networks.need(a.network, t, 0); e.good < maxWeight {
		e.good++
	}
	g.news.login(a)
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
	if e := g.count(Address, address, subject{block: a.address}, weight); e != nil {
		level := addressRule.level(e)
		e.next = max(e.next, t+int64(addressPause(e, level)))
		delay = max(delay, answerDelay(level))
	}
	if e := g.count(Network, g.networks.need(a.network, t, 0), subject{block: a.network}, 1); e != nil {
		level := networkRule.level(e)
		e.next = max(e.next, t+int64(networkPause(level)))
		delay = max(delay, answerDelay(level))
	}
	if e := g.users.need(a.user, t, 0); e != nil {
		if e.name == "" && len(a.User) <= maxName {
			e.name = a.User
		}
		g.count(User, e, subject{hash: a.user}, 1)
		delay = max(delay, answerDelay(userRule.level(e)))
	}
	return delay
}

// count adds a failure, and notes it for others if the level has risen.
func (g *Guard) count(k Kind, e *entry, s subject, weight float32) *entry {
	e.bad = min(e.bad+weight, maxWeight)
	g.rise(k, e, s, true)
	return e
}
