package member

import "usher.example/cluster/rule"

// Keys of users change with the settings that make them. Then a record means
// nothing any more: its key may be another user's, or nobody's. What is live under
// an old key cannot be told to fit, so it is closed, and no lease begins before.

// turn takes notice of new keys. It comes before anything that looks at records.
func (n *Node) turn() {
	if n.keys == n.t.Settings.Keys {
		return
	}
	n.keys = n.t.Settings.Keys
	clear(n.had)
	if !n.o.Broken.Kept(rule.OldKeysClose) {
		return
	}
	for k, r := range n.records {
		if r.holds > 0 {
			if before := n.old[k]; before != nil { // keys changed twice
				r.holds += before.holds
			}
			n.old[k] = r
		}
	}
	clear(n.records)
}

// closeOld closes what is live under old keys, and says whether that is done.
func (n *Node) closeOld(now int64) bool {
	for k, r := range n.old {
		n.kick(now, k, r)
	}
	return len(n.old) == 0
}

// Keyed says whether a key that was made with some settings (Settings.Keys) may be
// asked about: there may be others by now. Its owner asks under the lock under which
// the table changes, in one step with Place.
func (n *Node) Keyed(keys int) bool {
	return keys == n.t.Settings.Keys || !n.o.Broken.Kept(rule.KeysOfLogins)
}

// releaseOld gives back a hold of an old key, and says whether it was one.
func (n *Node) releaseOld(h hold) bool {
	r := n.old[h.key]
	if r == nil {
		return false
	}
	if r.holds--; r.holds <= 0 {
		delete(n.old, h.key)
	}
	return true
}

// kickDelay is the fleet's, or the configuration's while there is none.
func (n *Node) kickDelay() int64 {
	if s := &n.t.Settings; s.Number > 0 {
		return s.KickDelay
	}
	return n.o.KickDelay
}

// retention is as kickDelay.
func (n *Node) retention() int64 {
	if s := &n.t.Settings; s.Number > 0 {
		return s.Retention
	}
	return n.o.Retention
}
