// Package guard remembers failed logins and slows those down who go on failing.
//
// A [Guard] is asked before a login is tried, and told how it ended. It keeps four
// memories, each of bounded size: of addresses (IPv4 /32, IPv6 /64), of networks
// (/24, /48; weaker), of users, and of pairs of an address and a user. A pair that
// has logged in before passes whatever its address, its network or its user have
// become, unless it fails itself; with the password that was good last time it passes
// even then.
//
// Laws:
//   - It reads no clock and starts no goroutine: who asks says what time it is, and
//     does the waiting.
//   - Whatever strangers send, it holds no more than the constants below, and what
//     is worst is forgotten last.
//   - A known pair is never refused for what others do, at its address, in its
//     network, with its name, or by holding all places. Only who tries that user from
//     that address is in its way, and not if the password is the one it had last.
//   - Every try that reached a back end and was refused there is counted, and so is
//     one whose client left the back end's challenge unanswered. Who asks sees to it
//     that a try begins with time enough for a no.
//   - What a peer says badly loses nothing but itself.
//   - No password is kept, only a keyed hash of it with the user's name, to
//     recognise the same mistake, and 16 bits of one that was good; the key is of this
//     process and is never told.
//   - The good case allocates nothing.
//
// It is no lock: whoever waits long enough is let through to be judged by the back
// end. It knows nothing of sockets, protocols and the fleet.
package guard

import (
	"crypto/rand"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// halfLife is the time in which half of what was counted is forgotten: a phone
	// that failed all night is forgiven at noon, and a spray that pauses for an hour
	// goes on a fourth of the way back.
	halfLife = 30 * time.Minute

	// maxAnswer is the longest delay of an answer. Dovecot's is the same: clients
	// give up after 20 to 30 s.
	maxAnswer = 15 * time.Second

	// maxPause is the longest time between two tries that reach a back end, but for
	// those of an address that sprays.
	maxPause = 5 * time.Minute

	// crowdedAgain is when a login asks again that found too many others under way.
	crowdedAgain = 100 * time.Millisecond

	// addressGrace are failures that make no address slower by themselves: one person
	// behind it who types badly should not be felt by the others. His own pair is
	// slowed from the first one.
	addressGrace = 3

	// sprayUsers are how many users may fail at an address where nobody logs in, and
	// how many more than log in elsewhere, before each further one counts as
	// sprayWeight failures: a household may have four accounts whose passwords were
	// changed, and of an office or a carrier's customers more get in than fail. One
	// guess at each of many names is what only a spray does.
	sprayUsers  = 4
	sprayWeight = 6

	// sprayPause is the longest time between two tries of an address that sprays. Four
	// in an hour are less than a hundredth of one in five seconds, and sprayWeight
	// weighs more than what is forgotten meanwhile.
	sprayPause = 15 * time.Minute

	// networkGrace and networkStep make networks weaker than addresses: it takes eight
	// failures for what one does there.
	networkGrace = 24
	networkStep  = 8

	// userGrace are failures from strangers' addresses before strangers wait for
	// that user's sake.
	userGrace = 5

	// Users that log in well weigh against failures of their address, each once in
	// creditAgain: two allow one failure, up to a bound, so that no office can hide an
	// attacker for ever.
	creditShare = 0.5
	// Beyond the bound one for ten users stays: in a crowd so many mistype.
	crowdShare    = 0.1
	addressCredit = 50
	networkCredit = 200
	creditAgain   = halfLife

	// A clean address may have that many logins of strangers under way, and two more
	// for each user who has logged in, up to the bound. One under penalty has one.
	addressLanes    = 4
	maxAddressLanes = 256
	networkLanes    = 32
	maxNetworkLanes = 1024

	// pairLanes are the tries of one user from one address that are under way side by
	// side while none has failed: a mail programme opens five. After a failure it is one.
	pairLanes = 8

	// pairQueue bounds the tries of a known pair that wait; the pair counts them by
	// itself, and limits.prelogin bounds the connections of all.
	pairQueue = 16

	// forgiven is as much as a person mistypes on one connection. A good login makes
	// the pair forget that; of more, half: somebody else may have guessed meanwhile.
	forgiven = 5

	// unansweredWeight is that of a try whose client does not answer the back end's
	// challenge: a phone loses its network at times, but who does nothing else keeps
	// others of his address from trying.
	unansweredWeight = 0.5

	// heardCredit is up to where users count for an address who have logged in at
	// other nodes: as far as creditShare reaches. A node is not believed any further.
	heardCredit = 2 * addressCredit

	// cleanQueue and penaltyQueue bound the logins of an address that wait. An office
	// comes at nine o'clock; who is under penalty gets no room.
	cleanQueue   = 512
	penaltyQueue = 3

	// networkQueue is the share of a network in maxHeld: one site does not take the
	// places of all.
	networkQueue = maxHeld / 2

	// maxHeld bounds all strangers that wait. Each is a connection before its login, of some
	// 20 KB with TLS.
	maxHeld = 2048

	// Entries of the memories. One takes some 120 octets with its index, so that all
	// together stay below 32 MB.
	defaultEntries = 1 << 16
	networkEntries = 1 << 14
	userEntries    = 1 << 15

	// repeats are the wrong passwords that are remembered of a pair: that of a phone
	// and that of a tablet.
	repeats = 2

	// maxName is the longest user name that is kept to be shown and told to others.
	// One that is longer is remembered without.
	maxName = 128
)

// Options are what a reload may change. The zero value guards everybody.
type Options struct {
	// Off: nobody is delayed or refused, and nothing is remembered.
	Off bool
	// Exempt networks are not looked at: many people are behind them, as with a
	// webmail.
	Exempt []netip.Prefix
	// Entries bounds the addresses that are remembered, and the pairs. 0 is 65,536.
	// Only New looks at it.
	Entries int
}

// A Guard is the memory of one node. Its methods may be called concurrently, and
// none blocks for long.
type Guard struct {
	Stats Stats

	options atomic.Pointer[Options]
	epoch   time.Time
	key     [32]byte // of Digest
	seed    maphash.Seed

	mu        sync.Mutex // guards what follows
	addresses table[block]
	networks  table[block]
	users     table[uint64] // by hash of the name in normal form
	pairs     table[uint64] // that have failed, by hash of block and user
	known     known
	held      int // logins of strangers that wait
	heldKnown int // of known pairs
	penalties [kinds]int
	news      news
	happened  []Event
	unsaid    int
	swept     int
}

// Stats count since the start.
type Stats struct {
	Delayed atomic.Uint64 // logins that waited, before they were tried or answered
	Waited  atomic.Int64  // for how long, in nanoseconds
	Repeats atomic.Uint64 // failures that were the same mistake again
	Refused [reasons]atomic.Uint64
	Learnt  atomic.Uint64 // penalties taken over from other nodes
}

// A Reason is why a login was refused without asking a back end.
type Reason uint8

// Reasons.
const (
	Paused    Reason = iota // its address, network or pair has to wait for longer than a client does
	Crowded                 // too many of its address wait already
	Full                    // too many wait at all
	UserLimit               // the user has as many sessions as he may; who counts them says so
	reasons
)

// Reasons lists the names of all Reasons, in order.
func Reasons() []string { return []string{"paused", "crowded", "full", "user_sessions"} }

// String is the value of a label.
func (r Reason) String() string { return Reasons()[r] }

// New returns a Guard whose time begins now.
func New(o Options, now time.Time) *Guard {
	if o.Entries <= 0 {
		o.Entries = defaultEntries
	}
	g := &Guard{
		epoch: now, seed: maphash.MakeSeed(),
		known: known{limit: o.Entries, at: make(map[uint64]int32)},
	}
	g.addresses = newTable[block](o.Entries, g.gone(Address))
	g.networks = newTable[block](min(networkEntries, o.Entries), g.gone(Network))
	g.users = newTable[uint64](min(userEntries, o.Entries), g.gone(User))
	g.pairs = newTable[uint64](o.Entries, func(*entry) {})
	_, _ = rand.Read(g.key[:]) // never fails
	g.Configure(o)
	return g
}

// Configure puts other options into force. What is remembered stays.
func (g *Guard) Configure(o Options) { g.options.Store(&o) }

// Exempts says whether an address is not looked at.
func (g *Guard) Exempts(a netip.Addr) bool {
	for _, n := range g.options.Load().Exempt {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// nanos is a time as the entries have it.
func (g *Guard) nanos(t time.Time) int64 { return int64(t.Sub(g.epoch)) }

// A block is the first address of a network, as 16 octets.
type block [16]byte

// AddressOf is what one client may own: an IPv4 address, an IPv6 /64.
func AddressOf(a netip.Addr) netip.Prefix { return prefix(a, 32, 64) }

// NetworkOf is what one site may own: an IPv4 /24, an IPv6 /48.
func NetworkOf(a netip.Addr) netip.Prefix { return prefix(a, 24, 48) }

func prefix(a netip.Addr, v4, v6 int) netip.Prefix {
	a = a.Unmap()
	bits := v4
	if a.Is6() {
		bits = v6
	}
	p, _ := a.Prefix(bits) // no error: bits fit the family
	return p
}

// shown is a block as a network again.
func (b block) shown(v4, v6 int) netip.Prefix { return prefix(netip.AddrFrom16(b), v4, v6) }

func (g *Guard) userOf(name string) uint64 { return maphash.String(g.seed, name) }

func (g *Guard) pairOf(b block, user uint64) uint64 {
	return maphash.Comparable(g.seed, struct {
		b block
		u uint64
	}{b, user})
}
