// Package table is what the nodes of a fleet share: who is a member, which back
// ends there are, where users are that are not at home. It is one deterministic
// state machine: a sequence of [Command] applied to two Tables makes them equal.
//
// The hash says where a user belongs; the table holds the exceptions. A login
// writes nothing.
//
// Laws, each held by a test or by the simulation: no clock, no randomness, no I/O;
// a command that is unknown, late, double or made for another state changes
// nothing and says why; what a snapshot restores is what was saved; within an
// epoch nothing but a move changes a place.
//
// A Table is not safe for concurrent use: who has it has a lock. What is in it may
// be read through its fields, and is changed by [Table.Apply] only.
package table

import (
	"maps"
	"slices"

	"usher.example/cluster/place"
	"usher.example/cluster/rule"
)

// Version is that of the commands and the snapshot.
const Version = 1

// A Table is the replicated state.
type Table struct {
	Settings Settings
	Members  map[string]*Member // by node name
	Pools    map[string]*Pool   // by name
	Moves    map[uint64]*Move   // under way, by number
	Pins     Pins
	LastMove uint64 // the highest number of a move up to now
	LastID   uint16 // the last id that a back end was given
	// Enters is how many lives have entered: who waited for all that were counted
	// says which those were.
	Enters uint64
	// LastEpoch is the highest epoch of a pool that is gone: one that comes back
	// goes on from there, and what was said of the old one is not taken for it.
	LastEpoch uint64
	// Settling is a change of what makes keys, under way; nil if there is none.
	Settling *Settling
	// Values are what is kept under keys, and LastValue counts their changes.
	Values    Values
	LastValue uint64
	// Removed is LastValue when a value was last removed, by removedOf its key: a Put
	// that is late must not bring back what is gone.
	Removed [removedSlots]uint64
	// Locks are by name, and LastBeat counts what their holders say.
	Locks    map[string]Lock
	LastBeat uint64
	Tickets  Tickets

	moving map[place.Key]uint64 // derived of Moves
	broken rule.Broken
}

// A Member is a node.
type Member struct {
	Node    string `json:"node"`
	Dir     string `json:"dir"`     // id of its state directory
	Address string `json:"address"` // of its fleet port
	Witness bool   `json:"witness,omitempty"`
	// Life is the newest life that has entered; Counted, that it has not ended.
	Life    uint64 `json:"life"`
	Counted bool   `json:"counted"`
	// Granted is the newest report of that life that a leader has granted.
	Granted uint64 `json:"granted"`
	// Owes is what the life owed for too long that ended for it: no other enters
	// before that is done without the node.
	Owes []Debt `json:"owes,omitempty"`
}

// A Debt is something that is waited for: Ready for a change, or Clear for a move.
type Debt struct {
	Pool  string `json:"pool,omitempty"`
	Epoch uint64 `json:"epoch,omitempty"` // that is prepared
	Move  uint64 `json:"move,omitempty"`
}

// A Pool is one pool.
type Pool struct {
	Name     string
	Storage  place.Storage // by configuration; that of a view is what it was made with
	Backends map[uint16]*Backend
	Epoch    uint64
	Active   View
	Stays    map[place.Key]uint16
	Next     *Change // in preparation, or nil
	List     *List   // pins of a file that come, or nil
	Mark     string  // of the list that is in force
}

// A Backend is a mail server as configured and as administrators and health see
// it. One that comes back under its name and another address is another.
type Backend struct {
	ID      uint16 `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Weight  int    `json:"weight"`             // by configuration
	Over    *int   `json:"override,omitempty"` // by an administrator
	Admin   Admin  `json:"admin"`
	Up      bool   `json:"up"`                // by the fleet's verdict
	Removed bool   `json:"removed,omitempty"` // from the configuration
	Since   int64  `json:"since"`             // when one of these last changed, in Unix seconds of who said so
	By      string `json:"by,omitempty"`      // who or what changed it
}

// Admin is what an administrator wants of a back end.
type Admin string

// Admin states.
const (
	Active   Admin = "active"   // takes users
	Draining Admin = "drain"    // keeps those it has
	Evacuate Admin = "evacuate" // gives those it has away, bit by bit
	Down     Admin = "down"     // serves nobody
)

// Known says whether a is one of the states.
func (a Admin) Known() bool { return slices.Contains([]Admin{Active, Draining, Evacuate, Down}, a) }

// A Change is a view in preparation.
type Change struct {
	View  View
	Stays map[place.Key]uint16
	Ready map[string]uint64 // node: the life that said so
	List  *List             // pins that come into force with it, or nil
	// All: all places count as different and no back end as usable, as what
	// enters into places has changed.
	All bool
}

// A Pin is where an administrator wants a user. The back end is named, not
// numbered: it outlives the server.
type Pin struct {
	Pool    string `json:"pool"`
	User    string `json:"user"` // normalised
	Backend string `json:"backend"`
	// File: a pins file has it, which may take it back.
	File bool `json:"file,omitempty"`
}

// A Move is a user on his way.
type Move struct {
	Number uint64    `json:"number"`
	Pool   string    `json:"pool"`
	Key    place.Key `json:"key"`
	User   string    `json:"user,omitempty"` // normalised; empty if nobody has said it
	Target string    `json:"target,omitempty"`
	Pin    PinChange `json:"pin"`
	By     string    `json:"by,omitempty"`
	// Clear are the nodes that have closed all of his connections.
	Clear map[string]Cleared `json:"clear"`
}

// Cleared is a node's word that a user is gone.
type Cleared struct {
	Life uint64 `json:"life"`
	Had  bool   `json:"had"` // it had a record of him
}

// A PinChange is what a move does with the pin.
type PinChange string

// What a move does with the pin.
const (
	PinSet   PinChange = "set"   // to the target
	PinClear PinChange = "clear" // the user goes home
	PinKeep  PinChange = "keep"  // only his stay ends
)

// New returns an empty Table.
func New() *Table {
	return &Table{
		Members: make(map[string]*Member), Pools: make(map[string]*Pool), Moves: make(map[uint64]*Move),
		moving: make(map[place.Key]uint64),
		Locks:  make(map[string]Lock),
	}
}

// Break makes the table leave rules out. It is for package sim.
func (t *Table) Break(b rule.Broken) { t.broken = b }

// Moving returns the move that a user is in, nil if there is none.
func (t *Table) Moving(k place.Key) *Move { return t.Moves[t.moving[k]] }

// Only says whether a node is the only member that may have users. Witnesses have
// none.
func (t *Table) Only(node string) bool {
	if m := t.Members[node]; m == nil || m.Witness {
		return false
	}
	if len(t.Members) == 1 {
		return true
	}
	for name, m := range t.Members {
		if name != node && !m.Witness {
			return false
		}
	}
	return true
}

// all says whether every counted member is found good.
func (t *Table) all(good func(m *Member) bool) bool {
	some := false
	for _, m := range t.Members {
		if !m.Counted {
			continue
		}
		if good(m) {
			some = true
		} else if t.broken.Kept(rule.WaitForAll) {
			return false
		}
	}
	return some || t.broken.Kept(rule.WaitForAll)
}

// AllReady says whether a change waits for nobody.
func (t *Table) AllReady(p *Pool) bool {
	return p.Next != nil && t.all(func(m *Member) bool {
		life, ok := p.Next.Ready[m.Node]
		return ok && (life == m.Life || !t.broken.Kept(rule.ReadyDies))
	})
}

// AllClear says whether a move waits for nobody.
func (t *Table) AllClear(m *Move) bool {
	return t.all(func(n *Member) bool {
		c, ok := m.Clear[n.Node]
		return ok && c.Life == n.Life
	})
}

// Debts is what a counted life owes.
func (t *Table) Debts(m *Member) []Debt {
	var list []Debt
	for _, name := range slices.Sorted(maps.Keys(t.Pools)) {
		if p := t.Pools[name]; p.Next != nil && p.Next.Ready[m.Node] != m.Life {
			list = append(list, Debt{Pool: name, Epoch: p.Epoch + 1})
		}
	}
	for _, number := range slices.Sorted(maps.Keys(t.Moves)) {
		if t.Moves[number].Clear[m.Node].Life != m.Life {
			list = append(list, Debt{Move: number})
		}
	}
	return list
}

// open says whether a debt is still one.
func (t *Table) open(d Debt) bool {
	if d.Move != 0 {
		return t.Moves[d.Move] != nil
	}
	p := t.Pools[d.Pool]
	return p != nil && p.Next != nil && p.Epoch+1 == d.Epoch
}

// drop ends a pool.
func (t *Table) drop(p *Pool) {
	t.LastEpoch = max(t.LastEpoch, p.Epoch)
	delete(t.Pools, p.Name)
}

// counted returns the member whose life is counted, nil if it is not.
func (t *Table) counted(node string, life uint64) *Member {
	m := t.Members[node]
	if m == nil || !m.Counted || m.Life != life && t.broken.Kept(rule.LifeInCommands) {
		return nil
	}
	return m
}
