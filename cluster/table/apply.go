package table

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"usher.example/cluster/place"
	"usher.example/cluster/rule"
)

// Why a command did nothing. Only ErrMoving, ErrTarget, ErrNoPool, ErrNoBackend and
// ErrNoMember are of interest to people; the others are the protocol's everyday.
var (
	ErrLate       = errors.New("the state it was made for is over")
	ErrTerm       = errors.New("it was made in another term")
	ErrNotCounted = errors.New("the life is not counted")
	ErrCounted    = errors.New("a life of the node is counted")
	ErrOldLife    = errors.New("the life is not new")
	ErrOwes       = errors.New("what the node owed is not done yet")
	ErrDirectory  = errors.New("the state directory is another one")
	ErrWaits      = errors.New("not every counted node is ready")
	ErrNoPool     = errors.New("no such pool")
	ErrNoBackend  = errors.New("no such back end")
	ErrNoMember   = errors.New("no such node")
	ErrTarget     = errors.New("the back end is not up")
	ErrMoving     = errors.New("the user is being moved")
	ErrSameKey    = errors.New("another user has the same key")
	ErrKeys       = errors.New("users' keys have changed meanwhile; say it again")
	ErrSettling   = errors.New("the way in which users' names are written is being changed; say it again in a moment")
	ErrCollide    = errors.New("users who are pinned to different back ends would be one: unpin one of each")
)

// Apply applies a command. Term is that of its log entry. An error says that
// nothing has changed; it is the same on every node.
func (t *Table) Apply(c Command, term uint64) error {
	return c.apply(t, term)
}

func (c Join) apply(t *Table, _ uint64) error {
	m := t.Members[c.Node]
	switch {
	case c.Node == "" || c.Dir == "":
		return ErrNoMember
	case m == nil:
		t.Members[c.Node] = &Member{Node: c.Node, Dir: c.Dir, Address: c.Address, Witness: c.Witness}
		return nil
	case m.Dir != c.Dir && m.Counted:
		return ErrCounted
	}
	m.Dir, m.Address, m.Witness = c.Dir, c.Address, c.Witness
	return nil
}

func (c Enter) apply(t *Table, _ uint64) error {
	m := t.Members[c.Node]
	switch {
	case m == nil || m.Witness:
		return ErrNoMember
	case m.Dir != c.Dir:
		return ErrDirectory
	case m.Counted && t.broken.Kept(rule.EnterAfterEnd):
		return ErrCounted
	case c.Life <= m.Life:
		return ErrOldLife
	case slices.ContainsFunc(m.Owes, t.open) && t.someCounted():
		return ErrOwes // with nobody else there it would not be done without the node
	}
	m.Life, m.Counted, m.Granted, m.Owes = c.Life, true, 0, nil
	t.Enters++
	return nil
}

// someCounted says whether any life is counted: who can end a change or a move.
func (t *Table) someCounted() bool {
	for _, m := range t.Members {
		if m.Counted {
			return true
		}
	}
	return false
}

func (c Grant) apply(t *Table, term uint64) error {
	if c.Term != term {
		return ErrTerm
	}
	for _, g := range c.Nodes {
		if m := t.counted(g.Node, g.Life); m != nil && g.Report > m.Granted {
			m.Granted = g.Report
		}
	}
	return nil
}

func (c Expire) apply(t *Table, term uint64) error {
	if c.Term != term {
		return ErrTerm
	}
	m := t.counted(c.Node, c.Life)
	if m == nil {
		return ErrNotCounted
	}
	m.Counted = false
	if c.Owes {
		m.Owes = t.Debts(m)
	}
	t.unlock(c.Node)
	if t.broken.Kept(rule.ReadyDies) {
		for _, p := range t.Pools {
			if p.Next != nil {
				delete(p.Next.Ready, c.Node)
			}
		}
		for _, mv := range t.Moves {
			delete(mv.Clear, c.Node)
		}
	}
	return nil
}

func (c Forget) apply(t *Table, _ uint64) error {
	m := t.Members[c.Node]
	switch {
	case m == nil:
		return ErrNoMember
	case m.Counted:
		return ErrCounted
	}
	delete(t.Members, c.Node)
	return nil
}

func (c Prepare) apply(t *Table, term uint64) error {
	p := t.Pools[c.Pool]
	switch {
	case c.Term != term:
		return ErrTerm
	case p == nil:
		return ErrNoPool
	case p.Next != nil || p.Epoch != c.Epoch:
		return ErrLate
	case c.All && !t.Rekeyed():
		return ErrWaits
	}
	list := make([]place.Backend, 0, len(c.View))
	for _, s := range c.View {
		b := p.Backends[s.ID]
		if b == nil || s.State > place.Down || b.Removed && s.State == place.Up {
			return ErrNoBackend
		}
		list = append(list, place.Backend{ID: s.ID, Name: b.InView(), Weight: s.Weight, State: s.State})
	}
	v, err := newView(p.Storage, list)
	if err != nil {
		return err
	}
	var l *List
	if c.List != "" {
		switch l = p.List; {
		case l == nil || l.Mark != c.List || !l.Whole:
			return ErrLate
		case c.All || t.Settling != nil:
			return ErrSettling
		}
		p.List = nil
	}
	p.Next = &Change{View: v, List: l, Stays: make(map[place.Key]uint16), Ready: make(map[string]uint64), All: c.All}
	return nil
}

// InView is a back end's name in a view. Of one that is removed another may have the
// name: nobody is to be hashed or pinned to it.
func (b *Backend) InView() string {
	if b.Removed {
		return fmt.Sprintf("%s\x00%d", b.Name, b.ID)
	}
	return b.Name
}

func (c AddStay) apply(t *Table, _ uint64) error {
	p := t.Pools[c.Pool]
	switch {
	case p == nil:
		return ErrNoPool
	case t.counted(c.Node, c.Life) == nil:
		return ErrNotCounted
	case !p.prepares(t, c.Epoch):
		return ErrLate
	}
	for _, s := range c.Users {
		if t.MayStay(p, s.Key, s.Backend) {
			p.Next.Stays[s.Key] = s.Backend
		}
	}
	return nil
}

// prepares says whether the pool prepares that epoch.
func (p *Pool) prepares(t *Table, epoch uint64) bool {
	return p.Next != nil && (epoch == p.Epoch+1 || !t.broken.Kept(rule.EpochInCommands))
}

func (c Ready) apply(t *Table, _ uint64) error {
	p := t.Pools[c.Pool]
	switch {
	case p == nil:
		return ErrNoPool
	case t.counted(c.Node, c.Life) == nil:
		return ErrNotCounted
	case !p.prepares(t, c.Epoch):
		return ErrLate
	}
	p.Next.Ready[c.Node] = c.Life
	if !t.broken.Kept(rule.LifeInCommands) {
		p.Next.Ready[c.Node] = t.Members[c.Node].Life
	}
	return nil
}

func (c Activate) apply(t *Table, term uint64) error {
	p := t.Pools[c.Pool]
	switch {
	case c.Term != term:
		return ErrTerm
	case p == nil:
		return ErrNoPool
	case !p.prepares(t, c.Epoch), c.Enters != t.Enters, p.Next.All:
		return ErrLate // with All, all pools end at once
	case !t.AllReady(p):
		return ErrWaits
	}
	t.turn(p)
	return nil
}

// turn puts the view that is prepared in force.
func (t *Table) turn(p *Pool) {
	p.Epoch++
	t.take(p, p.Next.List)
	p.Active, p.Stays, p.Next = p.Next.View, p.Next.Stays, nil
	for id, b := range p.Backends {
		if _, there := p.Active.Find(id); b.Removed && !there {
			delete(p.Backends, id)
		}
	}
	if p.gone() {
		t.drop(p)
	}
}

// gone says whether a pool is over: nothing is left of its configuration.
func (p *Pool) gone() bool { return len(p.Backends) == 0 && len(p.Active.list) == 0 }

func (c Verdict) apply(t *Table, term uint64) error {
	p := t.Pools[c.Pool]
	switch {
	case c.Term != term:
		return ErrTerm
	case p == nil:
		return ErrNoPool
	}
	for id, up := range c.Up {
		if b := p.Backends[id]; b != nil && b.Up != up {
			b.Up, b.Since, b.By = up, c.At, "health"
		}
	}
	return nil
}

func (c Adjust) apply(t *Table, _ uint64) error {
	p := t.Pools[c.Pool]
	if p == nil {
		return ErrNoPool
	}
	b := p.named(c.Backend)
	switch {
	case b == nil:
		return ErrNoBackend
	case c.Admin != nil && !c.Admin.Known():
		return fmt.Errorf("unknown admin state %q", *c.Admin)
	case c.Weight != nil && *c.Weight > place.MaxWeight:
		return fmt.Errorf("weight %d is above %d", *c.Weight, place.MaxWeight)
	}
	b.Since, b.By = c.At, c.By
	if c.Admin != nil {
		b.Admin = *c.Admin
	}
	if c.Weight != nil {
		if b.Over = c.Weight; *c.Weight < 0 {
			b.Over = nil
		}
	}
	return nil
}

// named finds a configured back end.
func (p *Pool) named(name string) *Backend {
	for _, b := range p.Backends {
		if b.Name == name && !b.Removed {
			return b
		}
	}
	return nil
}

func (c Define) apply(t *Table, term uint64) error {
	if c.Term != term {
		return ErrTerm
	}
	if err := c.check(t); err != nil {
		return err
	}
	if c.Settings != nil {
		if err := t.set(*c.Settings); err != nil {
			return err
		}
	}
	wanted, used := make(map[string]bool), t.used()
	for _, d := range c.Pools {
		wanted[d.Name] = true
		p := t.Pools[d.Name]
		if p == nil {
			p = &Pool{Name: d.Name, Epoch: t.LastEpoch, Backends: make(map[uint16]*Backend), Stays: make(map[place.Key]uint16)}
			p.Active, _ = newView(d.Storage, nil) // no back end: no fault
			t.Pools[d.Name] = p
		}
		p.Storage = d.Storage
		p.define(t, used, d.Backends, c.At)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Pools)) {
		if p := t.Pools[name]; !wanted[name] {
			p.define(t, used, nil, c.At)
			if p.gone() && p.Next == nil {
				t.drop(p)
			}
		}
	}
	return nil
}

// define brings the back ends in line with the configuration. One that is new and
// that nobody has looked at counts as down where others can take its users, and so
// does one that the leader has seen to be down.
func (p *Pool) define(t *Table, used map[uint16]bool, servers []Server, at int64) {
	others := false
	for _, b := range p.Backends {
		others = others || !b.Removed && b.Up && b.Admin == Active
	}
	keep := make(map[uint16]bool)
	for _, s := range servers {
		b := p.same(s)
		if b == nil {
			b = &Backend{ID: t.newID(used), Name: s.Name, Address: s.Address, Admin: Active, Up: !s.Down && (!others || p.Storage == place.Local), Since: at, By: "configuration"}
			p.Backends[b.ID] = b
		}
		b.Weight, b.Removed = s.Weight, false
		keep[b.ID] = true
	}
	for id, b := range p.Backends {
		if !keep[id] {
			b.Removed = true
			if _, active := p.Active.Find(id); !active && p.Next == nil {
				delete(p.Backends, id)
			}
		}
	}
}

func (p *Pool) same(s Server) *Backend {
	for _, b := range p.Backends {
		if b.Name == s.Name && b.Address == s.Address {
			return b
		}
	}
	return nil
}
