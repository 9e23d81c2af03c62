package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"usher.example/cluster/table"
)

// A Vault is what the table has under seal, for whoever runs the fleet: how much, and
// with which versions of the secret, so that he knows when one may go.
type Vault struct {
	Values    int `json:"values"`
	Octets    int `json:"octets"`     // that they take, with what keeping them costs
	MaxOctets int `json:"max_octets"` // at which nothing more is taken

	Seals   []Seal      `json:"seals"`
	Locks   []LockState `json:"locks"` // by name
	Tickets TicketState `json:"tickets"`
}

// A Seal is a version of the secret, or the key of a node when it was alone, with what
// is sealed by it. First come those that the node has, the one in use before the
// others, and then those that it would need.
type Seal struct {
	By      string `json:"by"` // Secret.Print
	Used    bool   `json:"used"`
	Unknown bool   `json:"unknown,omitempty"` // the node does not have it, and opens nothing of this
	Values  int    `json:"values"`
	Tickets int    `json:"tickets"` // keys of session tickets
	MapKey  bool   `json:"map_key"`
}

// A LockState is a lock and the node that has it.
type LockState struct {
	Name string `json:"name"`
	Node string `json:"node"`
}

// TicketState is how the keys of session tickets stand.
type TicketState struct {
	Epoch uint64 `json:"epoch"` // of the key that seals; 0: there is none
	// Since is when that was to begin, by the clock of the leader of then.
	Since time.Time `json:"since,omitzero"`
	Keys  int       `json:"keys"` // that there are
	// Unopened counts those that this node opens by no version that it has.
	Unopened int `json:"unopened,omitempty"`
}

// vault is called with mu held.
func (f *Fleet) vault() Vault {
	t := f.table
	v := Vault{Values: t.Values.Len(), Octets: t.Values.Octets(), MaxOctets: table.MaxValues, Seals: []Seal{}, Locks: []LockState{}}
	for _, name := range sortedKeys(t.Locks) {
		v.Locks = append(v.Locks, LockState{name, t.Locks[name].Node})
	}
	v.Tickets = TicketState{Epoch: t.Tickets.Epoch, Keys: len(t.Tickets.Keys)}
	values, opened := f.sealedWith(), 0
	for i, s := range f.sealers() {
		by, one := s.Print(), []Secret{s}
		e := Seal{By: by, Used: i == 0, Values: values[by]}
		delete(values, by)
		for _, k := range t.Tickets.Keys {
			if _, _, err := open(one, aboutTicket(k.Epoch), k.Sealed); err == nil {
				e.Tickets++
			}
		}
		opened += e.Tickets
		if t.Settings.Number > 0 && i < len(*f.secrets.Load()) { // alone it is in clear
			_, fresh, err := openMapKey(one, t.Settings.MapKey)
			e.MapKey = err == nil && fresh
		}
		v.Seals = append(v.Seals, e)
	}
	for _, by := range sortedKeys(values) {
		v.Seals = append(v.Seals, Seal{By: by, Unknown: true, Values: values[by]})
	}
	v.Tickets.Unopened = v.Tickets.Keys - opened
	for _, k := range t.Tickets.Keys {
		if k.Epoch == t.Tickets.Epoch {
			v.Tickets.Since = time.Unix(k.NotBefore, 0).UTC()
		}
	}
	return v
}

// sealedWith counts values by what they are sealed with. It is called with mu held.
func (f *Fleet) sealedWith() map[string]int {
	n := make(map[string]int)
	for _, v := range f.table.Values.Any() {
		n[v.By]++
	}
	return n
}

// keepLost notes what this node cannot open, if it could not at the look before either:
// one that catches up meets what has been sealed anew since. It is keepSealed's own.
func (f *Fleet) keepLost(before map[string]int) map[string]int {
	have := f.sealing().prints
	f.mu.Lock()
	now := f.sealedWith()
	maps.DeleteFunc(now, func(by string, _ int) bool { return slices.Contains(have, by) })
	lost := make(map[string]int)
	for by, n := range now {
		if n := min(n, before[by]); n > 0 {
			lost[by] = n
		}
	}
	said := f.lost
	f.lost = lost
	why := f.unopened()
	f.mu.Unlock()
	if why != "" && !maps.Equal(said, lost) {
		f.log.Error(why, "event", "values_closed")
	}
	return now
}

// unopened says what values this node cannot open and what to do; empty if it opens
// all. It is called with mu held.
func (f *Fleet) unopened() string {
	if len(f.lost) == 0 {
		return ""
	}
	n := 0
	for _, m := range f.lost {
		n += m
	}
	have := strings.Join(f.sealing().prints, ", ")
	return fmt.Sprintf("stored values cannot be opened, keys of certificates that were obtained or imported among them: %d are sealed with the version %s of the secret, and this node has %s: %s",
		n, strings.Join(sortedKeys(f.lost), ", "), cmp.Or(have, "none"), f.bringSeal())
}

// bringSeal is where a version that is missing belongs.
func (f *Fleet) bringSeal() string {
	if f.o.Fleet == "" {
		return "bring " + sealerFile + " of its state directory back from a backup and restart it, or delete them to have them obtained anew"
	}
	return "add that version below the first to its secret file and restart it"
}
