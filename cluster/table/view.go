package table

import (
	"slices"

	"usher.example/cluster/place"
	"usher.example/cluster/rule"
)

// A View is the back ends of a pool at one time, ready to be hashed over.
type View struct {
	list  []place.Backend // by id
	place place.View
}

// newView makes a view; what is wrong with the list is an error.
func newView(storage place.Storage, list []place.Backend) (View, error) {
	v, err := place.NewView(storage, list)
	if err != nil {
		return View{}, err
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b place.Backend) int { return int(a.ID) - int(b.ID) })
	return View{list, v}, nil
}

// List returns the back ends by id. It is not to be changed.
func (v View) List() []place.Backend { return v.list }

// Find returns the back end of that id.
func (v View) Find(id uint16) (place.Backend, bool) {
	i, ok := slices.BinarySearchFunc(v.list, id, func(b place.Backend, id uint16) int { return int(b.ID) - int(id) })
	if !ok {
		return place.Backend{}, false
	}
	return v.list[i], true
}

// Usable says whether users may be on a back end at all: it is there and not down.
// With local storage it need only be there: nobody else could serve them.
func (v View) Usable(id uint16) bool {
	b, ok := v.Find(id)
	return ok && (b.State != place.Down || v.Storage() == place.Local)
}

// Home is the home of a user in the view.
func (v View) Home(k place.Key) (uint16, bool) {
	b, ok := place.Home(k, v.place)
	return b.ID, ok
}

// Rank lists the candidates for a user's home, and Left who is no candidate and why: see
// place.Rank and place.Left.
func (v View) Rank(k place.Key) []place.Candidate { return place.Rank(k, v.place) }

// Left is as Rank says.
func (v View) Left() map[string]string { return place.Left(v.place) }

// Storage is the kind of storage that the view is for.
func (v View) Storage() place.Storage { return v.place.Storage() }

// Equal says whether two views are the same.
func (v View) Equal(w View) bool { return v.Storage() == w.Storage() && slices.Equal(v.list, w.list) }

// A Hold says why a user has no place at the moment.
type Hold uint8

// Holds.
const (
	Free     Hold = iota // he has one
	Changing             // the pool's view changes, and with it his place
	Moving               // he is moved
)

// A Place is where a user is to go.
type Place struct {
	Backend uint16
	// Why is place.ByStay, ByPin or ByHome.
	Why string
	// OK is false if nobody may serve him now; Backend is then the one that
	// might, if it is known.
	OK   bool
	Hold Hold
}

// Present is a user's place by the active view, whatever is under way.
func (t *Table) Present(p *Pool, k place.Key) Place { return t.PresentTraced(p, k, nil) }

// PresentTraced is Present, and notes in tr what each rule said.
func (t *Table) PresentTraced(p *Pool, k place.Key, tr *place.Trace) Place {
	if id, ok := p.Stays[k]; ok {
		now := Place{Backend: id, Why: place.ByStay, OK: p.Active.Usable(id) && !p.Shut(id)}
		if now.OK {
			tr.Note(place.ByStay, place.Matched, id, "", "he was live there when the view changed, and stays until his last session has ended")
		} else {
			tr.Note(place.ByStay, place.Refuses, id, "", "he was live there when the view changed, and it serves nobody now")
		}
		return now
	}
	tr.Note(place.ByStay, place.Passed, 0, "", "no change of the view has found him live elsewhere than at his pin or home")
	return t.base(p.Active, k, tr)
}

// PresentBut is Present for a node that is alone and sees for itself that some back
// ends are down: with shared storage their users go where they would if they were.
func (t *Table) PresentBut(p *Pool, k place.Key, down map[uint16]bool) Place {
	return t.PresentButTraced(p, k, down, nil)
}

// PresentButTraced is PresentBut, and notes in tr what each rule said.
func (t *Table) PresentButTraced(p *Pool, k place.Key, down map[uint16]bool, tr *place.Trace) Place {
	now := t.PresentTraced(p, k, tr)
	if !down[now.Backend] || p.Active.Storage() == place.Local {
		return now
	}
	list := slices.Clone(p.Active.list)
	for i := range list {
		if down[list[i].ID] {
			list[i].State = place.Down
		}
	}
	v, err := newView(p.Active.Storage(), list)
	if err != nil {
		return now // it was good a moment ago
	}
	tr.Note(BySight, place.Passed, now.Backend, "", "this node is alone and sees it down: the rules are asked again without what it sees down")
	if other := t.base(v, k, tr); other.OK {
		return other
	}
	tr.Note(BySight, place.Passed, now.Backend, "", "nobody else is left: it is tried all the same")
	return now
}

func (t *Table) base(v View, k place.Key, tr *place.Trace) Place {
	return based(v, t.Pins.Backend(k), k, tr)
}

func based(v View, pin string, k place.Key, tr *place.Trace) Place {
	b, why, ok := place.BaseTraced(v.place, pin, k, tr)
	return Place{Backend: b.ID, Why: why, OK: ok}
}

// Base is where a user belongs by the view that is in preparation, or by the
// active one if none is.
func (t *Table) Base(p *Pool, k place.Key) Place {
	if p.Next != nil {
		return based(p.Next.View, t.pinned(p, k), k, nil)
	}
	return t.base(p.Active, k, nil)
}

// coming is a user's place by the view in preparation.
func (t *Table) coming(p *Pool, k place.Key) Place {
	if id, ok := p.Next.Stays[k]; ok {
		return Place{Backend: id, Why: place.ByStay, OK: true}
	}
	if id, ok := p.Stays[k]; ok && !t.broken.Kept(rule.HoldUnconfirmed) && p.Next.View.Usable(id) {
		return Place{Backend: id, Why: place.ByStay, OK: true}
	}
	return based(p.Next.View, t.pinned(p, k), k, nil)
}

// Where is a user's place now.
func (t *Table) Where(p *Pool, k place.Key) Place { return t.WhereTraced(p, k, nil) }

// Rules that are the table's own, in a Trace.
const (
	ByMove   = "move"   // he is moved
	ByChange = "change" // the pool's view changes, and with it his place
	BySight  = "sight"  // the node is alone, and sees for itself who is down
)

// WhereTraced is Where, and notes in tr what each rule said.
func (t *Table) WhereTraced(p *Pool, k place.Key, tr *place.Trace) Place {
	now := t.PresentTraced(p, k, tr)
	moving := t.moving[k] != 0 && t.broken.Kept(rule.HoldInMove)
	if moving {
		now.Hold = Moving
		tr.Note(ByMove, place.Waits, 0, "", "he is being moved: logins wait until his connections are closed on all nodes")
	} else {
		tr.Note(ByMove, place.Passed, 0, "", "he is not being moved")
	}
	switch {
	case moving:
		tr.Note(ByChange, place.Skipped, 0, "", "the move decides")
	case p.Next == nil || !t.broken.Kept(rule.HoldInChange):
		tr.Note(ByChange, place.Passed, 0, "", "the pool's view is not being changed")
	case p.Next.All:
		now.Hold = Changing
		tr.Note(ByChange, place.Waits, 0, "", "what makes places is being changed for everybody: logins wait")
	default:
		if next := t.coming(p, k); next.Backend != now.Backend || next.OK != now.OK {
			now.Hold = Changing
			tr.Note(ByChange, place.Waits, next.Backend, "", "the pool's view is being changed and his place with it: logins wait until all nodes are ready for it")
		} else {
			tr.Note(ByChange, place.Passed, next.Backend, "", "the pool's view is being changed, and his place stays what it is")
		}
	}
	return now
}

// MayStay says whether AddStay would be accepted for a user who is on a back end.
func (t *Table) MayStay(p *Pool, k place.Key, backend uint16) bool {
	if p.Next == nil || p.Next.All || t.moving[k] != 0 {
		return false
	}
	if b, ok := p.Next.View.Find(backend); !ok || b.State == place.Down && p.Next.View.Storage() == place.Shared {
		return false
	}
	if !t.broken.Kept(rule.StayIsPlace) {
		return true
	}
	now := t.Present(p, k)
	return now.Backend == backend && now.Why != "" && (now.OK || p.Active.Storage() == place.Local)
}

// Stays says whether the view in preparation has a stay of a user on a back end.
func (p *Pool) Keeps(k place.Key, backend uint16) bool {
	if p.Next == nil {
		return false
	}
	id, ok := p.Next.Stays[k]
	return ok && id == backend
}

// Loses says whether the change takes users off a back end: it is down or not
// there afterwards.
func (t *Table) Loses(p *Pool, backend uint16) bool {
	return p.Next != nil && (p.Next.All && t.broken.Kept(rule.CloseForKeys) || !p.Next.View.Usable(backend) || p.shut(p.Next.View, backend))
}

// Shut says whether an administrator has taken a back end down that alone has the mail of
// its users: nobody else can serve them, and it is not to either. Where health says that
// it is down, sessions there go on for as long as they can.
func (p *Pool) Shut(backend uint16) bool { return p.shut(p.Active, backend) }

func (p *Pool) shut(v View, backend uint16) bool {
	b := p.Backends[backend]
	if v.Storage() != place.Local || b == nil || b.Removed || b.Admin != Down {
		return false
	}
	s, ok := v.Find(backend)
	return ok && s.State == place.Down
}

// LosesAny says whether the change takes users off any back end that they may be
// on now.
func (t *Table) LosesAny(p *Pool) bool {
	for _, b := range p.Active.list {
		if p.Active.Usable(b.ID) && t.Loses(p, b.ID) {
			return true
		}
	}
	return false
}
