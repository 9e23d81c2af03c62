package guard

import (
	"hash/maphash"
	"math"
	"time"
)

// An entry is what is remembered of one address, network, user or pair.
type entry struct {
	bad, good float32 // failures and users that have logged in, as of at
	at        int64
	next      int64 // no try begins earlier
	underway  int32
	waiting   int32
	wrong     [repeats]Digest // of a pair, the latest first
	name      string          // of a user
	told      uint8           // the level that was told to others; above 0: it is counted as a penalty
	fresh     bool            // is in the news that were not told yet
	users     float32         // of an address: how many users it has failed as, which fades as bad does
	owner     owner           // of a pair
}

// An owner finds the pairs of an address or a user, and few others: it is half a hash
// of each.
type owner struct{ address, user uint32 }

func (g *Guard) ownerOf(b block, user uint64) owner {
	return owner{uint32(maphash.Comparable(g.seed, b)), uint32(user)}
}

// sprays says that an address has failed as more users than people behind it could
// mistype.
func (e *entry) sprays() bool { return e.users > sprayUsers+e.good }

// maxWeight is more than any pause grows with, and more users than an address has
// whom nobody calls a webmail: a float32 counts well up to there.
const maxWeight = 10000

// settle forgets what time has passed over.
func (e *entry) settle(now int64) {
	if d := now - e.at; d > 0 {
		if e.bad != 0 || e.good != 0 {
			f := float32(math.Exp2(-float64(d) / float64(halfLife)))
			e.bad *= f
			e.good *= f
			e.users *= f
		}
		e.at = now
	}
}

// weight is what decides who has to make room: settled to now, with what is under
// way counted as if it had failed.
func (e *entry) weight(now int64) float32 {
	e.settle(now)
	return e.bad + float32(e.underway+e.waiting)
}

// idle says that nobody is under way or waits, and no pause is left.
func (e *entry) idle(now int64) bool { return e.underway == 0 && e.waiting == 0 && e.next <= now }

// A rule is how a memory makes levels of its entries.
type rule struct {
	grace, credit float32
	step          float32
}

var (
	addressRule = rule{addressGrace, addressCredit, 1}
	networkRule = rule{networkGrace, networkCredit, networkStep}
	userRule    = rule{userGrace, 0, 1}
	pairRule    = rule{0, 0, 1}
)

// maxLevel is where pauses stop to grow.
const maxLevel = 32

// level is 0 for who is as free as everybody.
func (r rule) level(e *entry) uint8 {
	if e == nil {
		return 0
	}
	w := (e.bad - r.grace - min(e.good*creditShare, r.credit) - e.good*crowdShare) / r.step
	if w < 0.5 {
		return 0
	}
	return uint8(min(w+0.5, maxLevel))
}

// answerDelay is how long the answer to a failure is kept back: Dovecot's curve.
func answerDelay(level uint8) time.Duration {
	if level == 0 {
		return 0
	}
	return min(time.Second<<min(level, 8), maxAnswer)
}

// pause is the time from a failure to the next try. Up to the fifth failure the
// delayed answer takes all of it; then it doubles with every second one.
func pause(level uint8) time.Duration {
	if level < 6 {
		return answerDelay(level)
	}
	return min(maxAnswer<<((level-4)/2), maxPause)
}

// addressPause is the same for an address, and longer if that sprays.
func addressPause(e *entry, level uint8) time.Duration {
	if level < 6 || !e.sprays() {
		return pause(level)
	}
	return min(maxAnswer<<((level-4)/2), sprayPause)
}

// networkPause is shared by all strangers of a network.
func networkPause(level uint8) time.Duration { return pause(level) / networkStep }

func (e *entry) lanes(level uint8, clean, most int32) int32 {
	if level > 0 {
		return max(1, clean/8)
	}
	if e == nil {
		return clean
	}
	return min(clean+2*int32(e.good), most)
}

func (e *entry) remembers(d Digest) bool {
	for _, w := range e.wrong {
		if d != 0 && w == d {
			return true
		}
	}
	return false
}

func (e *entry) remember(d Digest) {
	copy(e.wrong[1:], e.wrong[:])
	e.wrong[0] = d
}
