package guard

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Penalty is what is shown of one. Durations are in seconds.
type Penalty struct {
	Kind    string  `json:"kind"` // "address", "network" or "user"
	Name    string  `json:"name"` // an address, a network, or a user's name in normal form
	Weight  float32 `json:"weight"`
	Good    float32 `json:"good"` // users that have logged in from there, which weigh against it
	Level   int     `json:"level"`
	Delay   float64 `json:"delay_seconds"` // of the answer to the next failure
	Pause   float64 `json:"pause_seconds"` // between two tries at least
	Next    float64 `json:"next_seconds"`  // from now to the next try
	Waiting int     `json:"waiting"`       // logins that wait
}

// List shows the penalties in force, the heaviest first.
func (g *Guard) List(now time.Time) []Penalty {
	t := g.nanos(now)
	g.mu.Lock()
	copied := g.copied()
	g.mu.Unlock() // names and order take long, and every login needs the lock
	list := []Penalty{}
	for i := range copied {
		e := &copied[i]
		e.settle(t)
		level := rules[e.kind].level(&e.entry)
		if level == 0 {
			continue
		}
		list = append(list, Penalty{
			Kind: e.kind.String(), Name: subjectName(e.kind, &e.entry, e.subject), Weight: e.bad, Good: e.good, Level: int(level),
			Delay: answerDelay(level).Seconds(), Pause: pauseOf(e.kind, &e.entry, level).Seconds(),
			Next: max(time.Duration(e.next-t), 0).Seconds(), Waiting: int(e.waiting),
		})
	}
	slices.SortFunc(list, func(a, b Penalty) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return list
}

// A shown is a copy of what may be a penalty.
type shown struct {
	entry
	kind Kind
	subject
}

// copied are the entries that may be penalties, as they were left. It is called with mu
// held, and does no more than copying.
func (g *Guard) copied() []shown {
	n := 0
	for _, p := range g.penalties {
		n += p
	}
	list := make([]shown, 0, n)
	for k, tab := range [...]*table[block]{Address: &g.addresses, Network: &g.networks} {
		for i := range tab.slots {
			if s := &tab.slots[i]; s.told > 0 {
				list = append(list, shown{s.entry, Kind(k), subject{block: s.key}})
			}
		}
	}
	for i := range g.users.slots {
		if s := &g.users.slots[i]; s.told > 0 {
			list = append(list, shown{s.entry, User, subject{hash: s.key}})
		}
	}
	return list
}

// Penalties is how many there are, by Kind. It is right within half a minute, which
// is how long the end of one may go unnoticed.
func (g *Guard) Penalties() [3]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.penalties
}

// Sizes are how many entries each memory has, and may have, by name.
func (g *Guard) Sizes() map[string][2]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return map[string][2]int{
		"address": {len(g.addresses.slots), g.addresses.limit}, "network": {len(g.networks.slots), g.networks.limit},
		"user": {len(g.users.slots), g.users.limit}, "pair": {len(g.pairs.slots), g.pairs.limit},
		"known": {len(g.known.slots), g.known.limit},
	}
}

// Memories lists the names of Sizes in order.
func Memories() []string { return []string{"address", "network", "user", "pair", "known"} }

// Held is how many logins wait.
func (g *Guard) Held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held + g.heldKnown
}

// Clear forgets the failures of an address or network, of a user (in normal form), or
// of all if both are left out. It returns how many penalties that were. Of a network
// the addresses are forgotten as well, and of all of them what their users have mistyped.
// Who logged in stays known.
func (g *Guard) Clear(where netip.Prefix, user string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, all := 0, !where.IsValid() && user == ""
	cleared := map[uint32]bool{} // addresses, as the pairs have them
	if where.IsValid() {
		cleared[g.ownerOf(where.Addr().As16(), 0).address] = true // it may be forgotten already
	}
	if where.IsValid() || user == "" {
		for _, tab := range []*table[block]{&g.addresses, &g.networks} {
			for i := range tab.slots {
				s := &tab.slots[i]
				if where.IsValid() && !where.Contains(netip.AddrFrom16(s.key).Unmap()) && !contains(tab == &g.networks, s.key, where) {
					continue
				}
				if s.told > 0 {
					n++
					g.penalties[g.kindOf(tab)]--
				}
				s.forget()
				if tab == &g.addresses {
					cleared[g.ownerOf(s.key, 0).address] = true
				}
			}
		}
	}
	for i := range g.users.slots {
		s := &g.users.slots[i]
		if !where.IsValid() && (user == "" || s.key == g.userOf(user)) {
			if s.told > 0 {
				n++
				g.penalties[User]--
			}
			s.forget()
		}
	}
	for i := range g.pairs.slots {
		if o := g.pairs.slots[i].owner; cleared[o.address] || user != "" && o.user == uint32(g.userOf(user)) || all {
			g.pairs.slots[i].forget()
		}
	}
	return n
}

// contains tells whether a network that is remembered has the one asked about: who
// clears an address wants him to get in.
func contains(network bool, b block, where netip.Prefix) bool {
	return network && b.shown(24, 48).Contains(where.Addr())
}

func (g *Guard) kindOf(t *table[block]) Kind {
	if t == &g.networks {
		return Network
	}
	return Address
}

func (e *entry) forget() {
	e.bad, e.users, e.next, e.told = 0, 0, 0, 0
	e.wrong = [repeats]Digest{}
}

// sweepShare of each memory is looked at by one Tick: all of it in half a minute.
const sweepShare = 30

// Tick is to be called as often as once a second. It forgets what has no weight any more, and
// returns what happened since the last one, and how much more there was of that.
func (g *Guard) Tick(now time.Time) (events []Event, more int) {
	t := g.nanos(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	sweep(&g.addresses, g.swept, t, func(e *entry, b block) { g.rise(Address, e, subject{block: b}, false) })
	sweep(&g.networks, g.swept, t, func(e *entry, b block) { g.rise(Network, e, subject{block: b}, false) })
	sweep(&g.users, g.swept, t, func(e *entry, h uint64) { g.rise(User, e, subject{hash: h}, false) })
	sweep(&g.pairs, g.swept, t, func(*entry, uint64) {})
	g.swept++
	events, more = g.happened, g.unsaid
	g.happened, g.unsaid = nil, 0
	return events, more
}

// nothing is a weight that matters no more.
const nothing = 0.25

func sweep[K comparable](t *table[K], turn int, now int64, look func(*entry, K)) {
	share := len(t.slots)/sweepShare + 1
	for i := min((turn%sweepShare+1)*share, len(t.slots)) - 1; i >= (turn%sweepShare)*share; i-- {
		s := &t.slots[i]
		s.settle(now)
		look(&s.entry, s.key)
		if s.bad < nothing && s.good < nothing && s.underway == 0 && s.waiting == 0 && s.next <= now {
			t.drop(i)
		}
	}
}
