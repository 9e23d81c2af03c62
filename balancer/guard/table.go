package guard

import "math/rand/v2"

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
// that no stranger can push anybody out.
type known struct {
	limit int
	at    map[uint64]int32
	slots []login
}

type login struct {
	pair uint64
	last int64
}

func (k *known) has(pair uint64) bool { _, ok := k.at[pair]; return ok }

// see notes a login. It says whether it is the first one for long.
func (k *known) see(pair uint64, now int64) (news bool) {
	if i, ok := k.at[pair]; ok {
		l := &k.slots[i]
		if news = now-l.last >= int64(creditAgain); news {
			l.last = now
		}
		return news
	}
	if len(k.slots) >= k.limit {
		oldest := rand.IntN(len(k.slots))
		for range contenders {
			if i := rand.IntN(len(k.slots)); k.slots[i].last < k.slots[oldest].last {
				oldest = i
			}
		}
		delete(k.at, k.slots[oldest].pair)
		k.slots[oldest] = login{pair, now}
		k.at[pair] = int32(oldest)
		return true
	}
	k.at[pair] = int32(len(k.slots))
	k.slots = append(k.slots, login{pair, now})
	return true
}
