package guard

import (
	"math/rand/v2"
	"time"
)

// contenders is how many entries are looked at when one has to make room. Among so
// many it is next to impossible that all are among the few worst: with one percent
// of the table being offenders, once in 10^32.
const contenders = 16

// A table is a memory of bounded size. Slots lie side by side, so that some can be
// picked at random.
type table[K comparable] struct {
	limit int
	index map[K]int32
	slots []slot[K]
	gone  func(*entry) // is told of each that makes room
}

type slot[K comparable] struct {
	key K
	entry
}

func newTable[K comparable](limit int, gone func(*entry)) table[K] {
	return table[K]{limit: limit, index: make(map[K]int32), gone: gone}
}

// find returns an entry as of now, or nil. It is good until the next call of need or
// drop.
func (t *table[K]) find(key K, now int64) *entry {
	i, ok := t.index[key]
	if !ok {
		return nil
	}
	e := &t.slots[i].entry
	e.settle(now)
	return e
}

// need returns an entry as of now, a new one if there was none: for that the
// lightest of some makes room. With a weight, what it would push out must not be
// heavier; else there is none: that is for what others tell.
func (t *table[K]) need(key K, now int64, weight float32) *entry {
	if e := t.find(key, now); e != nil {
		return e
	}
	if len(t.slots) >= t.limit {
		i := t.lightest(now)
		if weight > 0 && t.slots[i].weight(now) > weight {
			return nil
		}
		t.gone(&t.slots[i].entry)
		t.drop(i)
	}
	t.index[key] = int32(len(t.slots))
	t.slots = append(t.slots, slot[K]{key: key, entry: entry{at: now}})
	return &t.slots[len(t.slots)-1].entry
}

// lightest is the one of some that matters least.
func (t *table[K]) lightest(now int64) int {
	best, least := 0, float32(0)
	for n := range contenders {
		i := rand.IntN(len(t.slots))
		if w := t.slots[i].weight(now); n == 0 || w < least {
			best, least = i, w
		}
	}
	return best
}

// drop takes the entry out; the last one moves to its place.
func (t *table[K]) drop(i int) {
	last := len(t.slots) - 1
	delete(t.index, t.slots[i].key)
	if i != last {
		t.slots[i] = t.slots[last]
		t.index[t.slots[i].key] = int32(i)
	}
	t.slots[last] = slot[K]{}
	t.slots = t.slots[:last]
}

// known are the pairs that have logged in. Only who has a good password gets in, so
// that no stranger can push anybody out. Of what other nodes tell see learn.
type known struct {
	limit int
	heard int // slots that are from other nodes only
	at    map[uint64]int32
	slots []login
}

type login struct {
	pair uint64
	last int32 // in seconds
	// tag is of the password that was good: 16 bits of its Digest. Who guesses meets
	// them once in 65,536 tries, and who reads them here learns no more than that.
	tag   uint16
	heard bool // from another node only
}

// has says whether a pair is known, and whether the password is the one it had.
func (k *known) has(pair uint64, d Digest) (known, proven bool) {
	i, ok := k.at[pair]
	return ok, ok && d != 0 && k.slots[i].tag == d.tag()
}

// tag is 0 for no password only.
func (d Digest) tag() uint16 {
	if d == 0 {
		return 0
	}
	return max(uint16(d>>48), 1)
}

// again notes that a pair has logged in, and says whether it had not for long.
func (l *login) again(now int64) (news bool) {
	s := seconds(now)
	if news = s-l.last >= int32(creditAgain/time.Second); news {
		l.last = s
	}
	return news
}

// seconds is a time of entries in less room: 65,536 pairs are known.
func seconds(now int64) int32 { return int32(now / int64(time.Second)) }

// see notes a login. It says whether it is the first one for long.
func (k *known) see(pair uint64, now int64, d Digest) (news bool) {
	if i, ok := k.at[pair]; ok {
		l := &k.slots[i]
		if l.heard {
			l.heard = false
			k.heard--
		}
		if d != 0 {
			l.tag = d.tag()
		}
		return l.again(now)
	}
	if len(k.slots) >= k.limit {
		oldest := rand.IntN(len(k.slots))
		for range contenders {
			if i := rand.IntN(len(k.slots)); k.slots[i].last < k.slots[oldest].last {
				oldest = i
			}
		}
		k.replace(oldest, login{pair: pair, last: seconds(now), tag: d.tag()})
		return true
	}
	k.at[pair] = int32(len(k.slots))
	k.slots = append(k.slots, login{pair: pair, last: seconds(now), tag: d.tag()})
	return true
}

func (k *known) replace(i int, l login) {
	if k.slots[i].heard {
		k.heard--
	}
	delete(k.at, k.slots[i].pair)
	k.slots[i] = l
	k.at[l.pair] = int32(i)
}

// learn notes a login at another node. What is only heard of takes at most half of the
// room, and pushes out nothing but its like: a node that lies is to cost nobody what he
// has proved here.
func (k *known) learn(pair uint64, now int64) (news bool) {
	if i, ok := k.at[pair]; ok {
		return k.slots[i].again(now)
	}
	if len(k.slots) < k.limit && k.heard < (k.limit+1)/2 {
		k.at[pair] = int32(len(k.slots))
		k.slots = append(k.slots, login{pair: pair, last: seconds(now), heard: true})
		k.heard++
		return true
	}
	for range contenders {
		if i := rand.IntN(len(k.slots)); k.slots[i].heard {
			k.replace(i, login{pair: pair, last: seconds(now), heard: true})
			k.heard++
			return true
		}
	}
	return false
}
