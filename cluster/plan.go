package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// What an order would come to is found by giving it to a copy of the table, by the same
// commands, the same view and the same rules for places as the order itself, and looking
// at where each user who is live now would be then.

// A PlanRequest is an order about a back end that is only to be looked at. One of the
// last four is set.
type PlanRequest struct {
	Pool    string
	Backend string // of Admin and Weight
	Admin   *table.Admin
	Weight  *int // below zero: the configuration's
	Add     *place.Backend
	Remove  string
}

// What becomes of users; see Flow.
const (
	// FlowStays: they log in where they are, as now.
	FlowStays = "stays"
	// FlowLater: their sessions go on; once they are gone and forgotten they log in there.
	FlowLater = "later"
	// FlowLogin: their sessions go on until they log in again, which closes them.
	FlowLogin = "next_login"
	// FlowEvacuated: their sessions are closed, bit by bit.
	FlowEvacuated = "evacuated"
	// FlowClosed: their sessions are closed at once.
	FlowClosed = "closed"
	// FlowRefused: their sessions go on, and logins are refused: nobody else has their mail.
	FlowRefused = "refused"
)

// A Flow is users who have the same way.
type Flow struct {
	From     string `json:"from"`         // back end
	To       string `json:"to,omitempty"` // empty: nobody may serve them then
	How      string `json:"how"`          // stays, later, next_login, evacuated, closed or refused
	Users    int    `json:"users"`        // live, each once
	Sessions int    `json:"sessions"`     // of theirs, logins on their way included
}

// An Outlook is what an order would come to.
type Outlook struct {
	Flows []Flow // by From, To and How
	// Keys are users of the flows that move somebody, by key, with the number of theirs.
	Keys map[place.Key]int
	// Nobody: no back end takes new users then, by what is known of health now.
	Nobody bool
	// Changing: the pool's view is being changed by another order; what is said is as if
	// that were done.
	Changing bool
	// Storage of the pool.
	Storage place.Storage
	// KickDelay is waited for after connections are closed; Retention, until a user who
	// has gone is forgotten; Rate is how many users a second are evacuated.
	KickDelay, Retention time.Duration
	Rate                 int
}

// Plan says what an order about a back end would come to, and changes nothing. The error
// is that of the order; the second names nodes whose users are not counted.
func (f *Fleet) Plan(ctx context.Context, r PlanRequest) (o Outlook, missing, err error) {
	users, missing := f.seated(ctx, seatsOf{Pool: r.Pool})
	t, p, err := f.copyOf(r.Pool)
	if err != nil {
		return o, missing, err
	}
	o.Changing, p.Next = p.Next != nil, nil
	if err := f.rehearse(t, p, r); err != nil {
		return o, missing, err
	}
	const term = 1 // of nobody
	if err := t.Apply(table.Prepare{Term: term, Pool: r.Pool, Epoch: p.Epoch, View: lead.Wanted(p)}, term); err != nil {
		return o, missing, err
	}
	o.Storage, o.Keys = p.Storage, make(map[place.Key]int)
	o.KickDelay, o.Retention, o.Rate = time.Duration(t.Settings.KickDelay), time.Duration(t.Settings.Retention), lead.EvacuateRate
	o.Nobody = !slices.ContainsFunc(p.Next.View.List(), func(b place.Backend) bool { return b.State == place.Up })
	o.add(t, p, users)
	return o, missing, nil
}

// copyOf is a copy of the table with its pool.
func (f *Fleet) copyOf(pool string) (*table.Table, *table.Pool, error) {
	f.mu.Lock()
	t := f.table.Clone()
	f.mu.Unlock()
	p := t.Pools[pool]
	if p == nil || removed(p) {
		return nil, nil, fmt.Errorf("pool %q: %w", pool, ErrNoPool)
	}
	return t, p, nil
}

// rehearse gives the order to a copy.
func (f *Fleet) rehearse(t *table.Table, p *table.Pool, r PlanRequest) error {
	if r.Admin != nil || r.Weight != nil {
		return t.Apply(table.Adjust{Pool: r.Pool, Backend: r.Backend, Admin: r.Admin, Weight: r.Weight}, 0)
	}
	const term = 1
	d := table.Define{Term: term}
	for _, name := range sortedKeys(t.Pools) {
		other := t.Pools[name]
		dp := table.Defined{Name: name, Storage: other.Storage}
		for _, id := range sortedIDs(other.Backends) {
			if b := other.Backends[id]; !b.Removed && (other != p || b.Name != r.Remove) {
				dp.Backends = append(dp.Backends, table.Server{Name: b.Name, Address: b.Address, Weight: b.Weight})
			}
		}
		if other == p && r.Add != nil {
			dp.Backends = append(dp.Backends, table.Server{Name: r.Add.Name, Address: "added", Weight: r.Add.Weight})
		}
		d.Pools = append(d.Pools, dp)
	}
	if err := t.Apply(d, term); err != nil {
		return err
	}
	if r.Add != nil {
		for _, b := range p.Backends {
			b.Up = b.Up || b.Name == r.Add.Name && b.Address == "added" // as soon as it has answered
		}
	}
	return nil
}

// add finds each user's way from the active view to the one that is prepared.
func (o *Outlook) add(t *table.Table, p *table.Pool, users map[place.Key]whereabout) {
	type way struct{ from, to, how string }
	flows := make(map[way]*Flow)
	for key, at := range users {
		first := true
		for _, id := range sortedIDs(at) {
			w := way{from: nameOf(p, id)}
			var to table.Place
			w.how, to = o.way(t, p, key, id)
			if to.OK {
				w.to = nameOf(p, to.Backend)
			}
			fl := flows[w]
			if fl == nil {
				fl = &Flow{From: w.from, To: w.to, How: w.how}
				flows[w] = fl
			}
			fl.Sessions += at[id]
			if first { // on two at once, while he is brought in line
				fl.Users++
				first = false
			}
			if w.how != FlowStays {
				o.Keys[key] += at[id]
			}
		}
	}
	for _, fl := range flows {
		o.Flows = append(o.Flows, *fl)
	}
	slices.SortFunc(o.Flows, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.How, b.How))
	})
}

// way is what becomes of a user who is live on a back end, and where he is then.
func (o *Outlook) way(t *table.Table, p *table.Pool, key place.Key, id uint16) (how string, to table.Place) {
	base := t.Base(p, key)
	b := p.Backends[id]
	switch fate := t.Fate(p, key, id); {
	case fate == table.Close:
		return FlowClosed, base
	case fate == table.Belongs && !base.OK:
		return FlowRefused, base
	case fate == table.Belongs:
		return FlowStays, base
	case b == nil || b.Removed:
		return FlowLogin, base
	case b.Admin == table.Evacuate:
		return FlowEvacuated, base
	}
	return FlowLater, base
}

// Has counts the users and their sessions that an outlook has on some ways.
func (o *Outlook) Has(how ...string) (users, sessions int) {
	for _, fl := range o.Flows {
		if slices.Contains(how, fl.How) {
			users, sessions = users+fl.Users, sessions+fl.Sessions
		}
	}
	return users, sessions
}

// A UserPlan is what a move of one user would come to.
type UserPlan struct {
	User string // in normal form
	From map[string]int
	To   string // empty: nobody may serve him then
	Outlook
}

// PlanMove says what Move would come to, or Home if home is set, and changes nothing. The
// errors are as those of Plan.
func (f *Fleet) PlanMove(ctx context.Context, pool, user, target string, home bool) (u UserPlan, missing, err error) {
	key, keys, name, ok := f.key(pool, user)
	if !ok {
		return u, nil, ErrIsolated
	}
	at, missing := f.seated(ctx, seatsOf{Pool: pool, Key: &key})
	t, p, err := f.copyOf(pool)
	if err != nil {
		return u, missing, err
	}
	s := table.Start{Pool: pool, Key: key, Keys: keys, User: name, Target: target, Pin: table.PinSet}
	switch {
	case home:
		s.Pin = table.PinKeep
	case target == "":
		s.Pin = table.PinClear
	}
	if err := t.Apply(s, 0); err != nil {
		return u, missing, err
	}
	u.User, u.From = name, make(map[string]int)
	_, u.To = t.Way(t.Moving(key))
	u.Storage, u.KickDelay = p.Storage, time.Duration(t.Settings.KickDelay)
	u.Keys = map[place.Key]int{}
	for id, n := range at[key] {
		u.From[nameOf(p, id)] += n
		u.Keys[key] += n
	}
	for i, from := range slices.Sorted(maps.Keys(u.From)) {
		fl := Flow{From: from, To: u.To, How: FlowClosed, Sessions: u.From[from]}
		if i == 0 {
			fl.Users = 1
		}
		u.Flows = append(u.Flows, fl)
	}
	return u, missing, nil
}

// Key is a user's key in a pool, by which an outlook tells users apart; false while this
// node has not joined its fleet.
func (f *Fleet) Key(pool, user string) (place.Key, bool) {
	key, _, _, ok := f.key(pool, user)
	return key, ok
}
