package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"usher.example/cluster/place"
)

// A saved is a Table in a snapshot.
type saved struct {
	Version  int       `json:"version"`
	Settings Settings  `json:"settings"`
	Members  []*Member `json:"members"`
	Pools    []pool    `json:"pools"`
	Moves    []*Move   `json:"moves"`
	LastMove uint64    `json:"last_move"`
	LastID   uint16    `json:"last_id"`
	Enters   uint64    `json:"enters"`
	// LastEpoch is left out while no pool has gone.
	LastEpoch uint64    `json:"last_epoch,omitempty"`
	Settling  *settling `json:"settling,omitempty"`
	Tickets   *Tickets  `json:"tickets,omitempty"`
	Pins      int       `json:"pins"` // so many follow, each by itself
	// Values follow the pins, each by itself. All of these are left out while there
	// are none.
	Values    int      `json:"values,omitempty"`
	LastValue uint64   `json:"last_value,omitempty"`
	Removed   []uint64 `json:"removed,omitempty"`
	Locks     []Lock   `json:"locks,omitempty"`
	LastBeat  uint64   `json:"last_beat,omitempty"`
}

type pool struct {
	Name     string          `json:"name"`
	Storage  place.Storage   `json:"storage"`
	Backends []*Backend      `json:"backends"`
	Epoch    uint64          `json:"epoch"`
	Active   []place.Backend `json:"active"`
	Stored   place.Storage   `json:"stored"` // that of the active view
	Stays    Users           `json:"stays"`
	Next     *change         `json:"next,omitempty"`
	List     *savedList      `json:"list,omitempty"`
	Mark     string          `json:"mark,omitempty"`
}

type change struct {
	View  []place.Backend   `json:"view"`
	Store place.Storage     `json:"stored"`
	Stays Users             `json:"stays"`
	Ready map[string]uint64 `json:"ready"`
	All   bool              `json:"all,omitempty"`
	List  *savedList        `json:"list,omitempty"`
}

type settling struct {
	Settings Settings `json:"settings"`
	Keys     Renames  `json:"keys"`
}

type valued struct {
	Key string `json:"key"`
	Value
}

type pinned struct {
	Key place.Key `json:"key"`
	Pin
}

var errNull = errors.New("read a snapshot: something is null")

// Clone returns a copy that shares nothing that changes.
func (t *Table) Clone() *Table {
	c := *t
	c.Members = make(map[string]*Member, len(t.Members))
	for name, m := range t.Members {
		n := *m
		c.Members[name] = &n
	}
	c.Pools = make(map[string]*Pool, len(t.Pools))
	for name, p := range t.Pools {
		n := *p
		n.Backends = make(map[uint16]*Backend, len(p.Backends))
		for id, b := range p.Backends {
			nb := *b
			n.Backends[id] = &nb
		}
		n.Stays, n.List = maps.Clone(p.Stays), p.List.Clone()
		if p.Next != nil {
			next := *p.Next
			next.Stays, next.Ready, next.List = maps.Clone(next.Stays), maps.Clone(next.Ready), next.List.Clone()
			n.Next = &next
		}
		c.Pools[name] = &n
	}
	c.Moves = make(map[uint64]*Move, len(t.Moves))
	for number, m := range t.Moves {
		n := *m
		n.Clear = maps.Clone(m.Clear)
		c.Moves[number] = &n
	}
	if s := t.Settling; s != nil {
		c.Settling = &Settling{s.Settings, maps.Clone(s.Keys), maps.Clone(s.back)}
	}
	c.Pins, c.moving = t.Pins.Clone(), maps.Clone(t.moving)
	c.Values, c.Locks = t.Values.Clone(), maps.Clone(t.Locks)
	return &c
}

// Save writes the table. Equal tables are written alike.
func (t *Table) Save(w io.Writer) error {
	s := saved{Version: Version, Settings: t.Settings, LastMove: t.LastMove, LastID: t.LastID, Enters: t.Enters, LastEpoch: t.LastEpoch, Pins: t.Pins.Len()}
	for _, name := range slices.Sorted(maps.Keys(t.Members)) {
		s.Members = append(s.Members, t.Members[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.Pools)) {
		p := t.Pools[name]
		sp := pool{Name: name, Storage: p.Storage, Epoch: p.Epoch, Active: p.Active.list, Stored: p.Active.Storage(), Stays: seats(p.Stays), List: p.List.save(), Mark: p.Mark}
		for _, id := range slices.Sorted(maps.Keys(p.Backends)) {
			sp.Backends = append(sp.Backends, p.Backends[id])
		}
		if p.Next != nil {
			sp.Next = &change{View: p.Next.View.list, Store: p.Next.View.Storage(), Stays: seats(p.Next.Stays), Ready: p.Next.Ready, All: p.Next.All, List: p.Next.List.save()}
		}
		s.Pools = append(s.Pools, sp)
	}
	for _, number := range slices.Sorted(maps.Keys(t.Moves)) {
		s.Moves = append(s.Moves, t.Moves[number])
	}
	if t.Tickets.Epoch > 0 {
		s.Tickets = &t.Tickets
	}
	if t.Settling != nil {
		s.Settling = &settling{t.Settling.Settings, renames(t.Settling.Keys)}
	}
	s.Values, s.LastValue, s.LastBeat = t.Values.Len(), t.LastValue, t.LastBeat
	if t.Removed != ([removedSlots]uint64{}) {
		s.Removed = t.Removed[:]
	}
	for _, name := range slices.Sorted(maps.Keys(t.Locks)) {
		s.Locks = append(s.Locks, t.Locks[name])
	}
	e := json.NewEncoder(w)
	if err := e.Encode(s); err != nil {
		return err
	}
	for k, pin := range t.Pins.All() {
		if err := e.Encode(pinned{k, pin}); err != nil {
			return err
		}
	}
	for key, v := range t.Values.All() {
		if err := e.Encode(valued{key, v}); err != nil {
			return err
		}
	}
	return nil
}

func seats(m map[place.Key]uint16) Users {
	u := make(Users, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		u = append(u, Seat{k, m[k]})
	}
	return u
}

func (u Users) unpack() map[place.Key]uint16 {
	m := make(map[place.Key]uint16, len(u))
	for _, s := range u {
		m[s.Key] = s.Backend
	}
	return m
}

// Load makes t what was saved. After an error t is as before.
func (t *Table) Load(r io.Reader) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var s saved
	if err := d.Decode(&s); err != nil {
		return fmt.Errorf("read a snapshot: %w", err)
	}
	if s.Version != Version {
		return fmt.Errorf("a snapshot of version %d, this program knows %d", s.Version, Version)
	}
	n := New()
	n.Settings, n.LastMove, n.LastID, n.broken = s.Settings, s.LastMove, s.LastID, t.broken
	n.Enters, n.LastEpoch = s.Enters, s.LastEpoch
	if s.Settling != nil {
		n.Settling = s.Settling.Keys.settling(s.Settling.Settings)
	}
	if s.Tickets != nil {
		if err := s.Tickets.check(); err != nil {
			return fmt.Errorf("read a snapshot: %w", err)
		}
		n.Tickets = *s.Tickets
	}
	if slices.Contains(s.Members, nil) || slices.Contains(s.Moves, nil) {
		return errNull
	}
	for _, m := range s.Members {
		n.Members[m.Node] = m
	}
	for _, sp := range s.Pools {
		p := &Pool{Name: sp.Name, Storage: sp.Storage, Backends: make(map[uint16]*Backend), Epoch: sp.Epoch, Stays: sp.Stays.unpack(), List: sp.List.list(sp.Name), Mark: sp.Mark}
		if slices.Contains(sp.Backends, nil) {
			return errNull
		}
		if sp.Storage > place.Local {
			return fmt.Errorf("read a snapshot: pool %q: unknown %v", sp.Name, sp.Storage)
		}
		for _, b := range sp.Backends {
			p.Backends[b.ID] = b
		}
		var err error
		if p.Active, err = newView(sp.Stored, sp.Active); err != nil {
			return fmt.Errorf("read a snapshot: pool %q: %w", sp.Name, err)
		}
		if sp.Next != nil {
			p.Next = &Change{Stays: sp.Next.Stays.unpack(), Ready: sp.Next.Ready, All: sp.Next.All, List: sp.Next.List.list(sp.Name)}
			if p.Next.Ready == nil {
				p.Next.Ready = make(map[string]uint64)
			}
			if p.Next.View, err = newView(sp.Next.Store, sp.Next.View); err != nil {
				return fmt.Errorf("read a snapshot: pool %q: %w", sp.Name, err)
			}
		}
		n.Pools[sp.Name] = p
	}
	for _, m := range s.Moves {
		if m.Clear == nil {
			m.Clear = make(map[string]Cleared)
		}
		n.Moves[m.Number] = m
		n.moving[m.Key] = m.Number
	}
	for range s.Pins {
		var p pinned
		if err := d.Decode(&p); err != nil {
			return fmt.Errorf("read the pins of a snapshot: %w", err)
		}
		n.Pins.Set(p.Key, p.Pin)
	}
	if err := n.loadValues(d, s); err != nil {
		return err
	}
	*t = *n
	return nil
}

// loadValues reads values and locks.
func (t *Table) loadValues(d *json.Decoder, s saved) error {
	t.LastValue, t.LastBeat = s.LastValue, s.LastBeat
	if len(s.Removed) > len(t.Removed) {
		return fmt.Errorf("read a snapshot: %d numbers of removals, at most %d are possible", len(s.Removed), len(t.Removed))
	}
	copy(t.Removed[:], s.Removed)
	for _, l := range s.Locks {
		t.Locks[l.Name] = l
	}
	for range s.Values {
		var v valued
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("read the values of a snapshot: %w", err)
		}
		if err := t.Values.check(v.Key, v.Value); err != nil {
			return fmt.Errorf("read the values of a snapshot: %w", err)
		}
		t.Values.put(v.Key, v.Value)
	}
	return nil
}
