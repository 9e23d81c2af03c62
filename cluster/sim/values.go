package sim

import (
	"bytes"
	"fmt"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

// Values and locks. What is sealed is made up; who has a lock renews it until he needs
// it no more, unless his process ends first.

// keysOf and locksOf are how many keys and locks there are: few, so that they meet.
const (
	keysOf  = 6
	locksOf = 2
)

// A grab is a lock that a process wants, has or gives back.
type grab struct {
	name   string
	nonce  uint64
	until  int64 // by the true clock: it does not matter whose
	saidAt int64
}

// A grip is a lock as the log has it, and when it was last taken or renewed.
type grip struct {
	nonce, beat uint64
	at          int64
}

// store has a host store or remove a value.
func (h *host) store(a *Action) {
	key := fmt.Sprintf("dir%d/key%d", a.N%2, a.N%keysOf)
	switch base := h.t.LastValue; {
	case a.N%7 == 0:
		h.tell(table.Remove{Key: key[:4], Base: base})
	case a.N%5 == 0:
		v, _ := h.t.Values.Find(key)
		h.tell(table.Reseal{Key: key, Number: v.Number, By: "other", Sealed: fmt.Appendf(nil, "again %d", a.N)})
	default:
		h.tell(table.Put{Key: key, Base: base, By: "one", Sealed: fmt.Appendf(nil, "%d at %d", a.N, a.At), At: a.At})
	}
}

// grab has a host want a lock for some time.
func (h *host) grab(a *Action) {
	h.grabs = append(h.grabs, &grab{
		name: fmt.Sprintf("lock%d", a.N%locksOf), nonce: uint64(a.At)<<4 | uint64(h.index), until: h.w.now + a.Long,
	})
}

// keepLocks takes, renews and gives back what the process wants.
func (h *host) keepLocks() {
	now := h.local(h.w.now)
	left := h.grabs[:0]
	for _, g := range h.grabs {
		held := h.t.Locks[g.name].Nonce == g.nonce
		over := h.w.now >= g.until
		if over && !held {
			continue
		}
		left = append(left, g)
		switch {
		case over && now-g.saidAt >= second:
			h.tell(table.Drop{Name: g.name, Nonce: g.nonce})
		case held && now-g.saidAt >= lead.RenewEvery:
			h.tell(table.Renew{Node: h.name, Life: h.n.Life(), Nonces: []uint64{g.nonce}})
		case !held && now-g.saidAt >= second:
			h.tell(table.Take{Name: g.name, Node: h.name, Life: h.n.Life(), Nonce: g.nonce})
		default:
			continue
		}
		g.saidAt = now
	}
	h.grabs = left
}

// watchLocks holds what the log did with locks against time: one that was broken had
// not been taken or renewed for a lease, by a clock that may be fast, and not before the
// leader was elected.
func (w *world) watchLocks(c table.Command) {
	for name, l := range w.ref.Locks {
		g, before := w.grips[name]
		if before && g.nonce != l.Nonce {
			w.fail(ErrLock, "%s is %s's, and was had by %d still", name, l.Node, g.nonce)
		}
		if !before || g.beat != l.Beat {
			w.grips[name] = grip{l.Nonce, l.Beat, w.now}
		}
		if !before {
			w.Locks++
		}
	}
	for name, g := range w.grips {
		if _, there := w.ref.Locks[name]; there {
			continue
		}
		delete(w.grips, name)
		switch c := c.(type) {
		case table.Break:
			w.Breaks++
			if since := max(g.at, w.electedAt); w.now-since < lead.LockLease*99/100 {
				w.fail(ErrLock, "%s is broken %s after it was renewed, or the leader elected", name, seconds(w.now-since))
			}
		case table.Drop:
		case table.Expire:
			if uint64(len(w.hosts)) > g.nonce&15 && w.hosts[g.nonce&15].name != c.Node {
				w.fail(ErrLock, "%s ends with the life of %s", name, c.Node)
			}
		default:
			w.fail(ErrLock, "%s ends by a %T", name, c)
		}
	}
}

// watchValues holds a value that was stored against what the log says of it. Said twice
// it is stored once, whatever happened between the two.
func (w *world) watchValues(c table.Command) {
	put, ok := c.(table.Put)
	if !ok {
		return
	}
	w.Stores++
	if said := put.Key + " " + string(put.Sealed); w.stored[said] {
		w.fail(ErrReplica, "%s is stored a second time", said)
	} else {
		w.stored[said] = true
	}
	if v, ok := w.ref.Values.Find(put.Key); !ok || !bytes.Equal(v.Sealed, put.Sealed) || v.Number <= put.Base {
		w.fail(ErrReplica, "%s was stored and is %+v", put.Key, v)
	}
}
