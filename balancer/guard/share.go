package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	// maxSnapshot bounds what a node that starts is told, of penalties and of pairs
	// each: the worst and the latest.
	maxSnapshot = 4096

	// maxWord bounds what the word of another node weighs: the longest pause, and an
	// hour to be forgotten.
	maxWord = 24
)

// A Word is what nodes tell each other. Who tells it is not believed any more than
// that it weighs at most maxWord and takes no more room than its bounds.
type Word struct {
	Penalties []Claim `json:"penalties,omitempty"`
	// Logins are pairs that have logged in, so that a user who comes to another node
	// next is known there as well.
	Logins []Login `json:"logins,omitempty"`
}

// A Claim is a penalty that another node has given.
type Claim struct {
	Kind   string  `json:"kind"`
	Name   string  `json:"name"` // a prefix, or a user's name in normal form
	Weight float32 `json:"weight"`
	// Users is as how many an address has failed, 0 where that is not known.
	Users float32 `json:"users,omitempty"`
}

// ErrWord means that what another node said is not understood or too long.
var ErrWord = errors.New("the word of another node about failed logins is malformed")

// News is what others are to be told since the last News, nil if that is nothing. It
// never has more than 1,024 penalties and as many logins.
func (g *Guard) News(now time.Time) []byte {
	t := g.nanos(now)
	g.mu.Lock()
	var w Word
	for k, marked := range g.news.marked {
		for _, s := range marked {
			if e := g.entryOf(Kind(k), s, t); e != nil {
				e.fresh = false
				w.Penalties = appendClaim(w.Penalties, Kind(k), e, s)
			}
		}
		g.news.marked[k] = marked[:0]
	}
	w.Penalties = w.Penalties[:min(len(w.Penalties), maxNews)]
	w.Logins, g.news.logins = g.news.logins, nil
	g.mu.Unlock()
	return w.encode()
}

// Snapshot is what a node is told that starts.
func (g *Guard) Snapshot(now time.Time) []byte {
	t := g.nanos(now)
	g.mu.Lock()
	var w Word
	g.each(t, func(k Kind, e *entry, s subject) {
		if e.told > 0 && len(w.Penalties) < maxSnapshot {
			w.Penalties = appendClaim(w.Penalties, k, e, s)
		}
	})
	w.Logins = append(w.Logins, g.news.latest...)
	g.mu.Unlock()
	return w.encode()
}

func (w Word) encode() []byte {
	if len(w.Penalties)+len(w.Logins) == 0 {
		return nil
	}
	b, err := json.Marshal(w)
	if err != nil { // cannot be: names and numbers
		return nil
	}
	return b
}

func appendClaim(list []Claim, k Kind, e *entry, s subject) []Claim {
	c := Claim{Kind: k.String(), Weight: e.bad}
	switch k {
	case Address:
		c.Name, c.Users = s.block.shown(32, 64).String(), e.users
	case Network:
		c.Name = s.block.shown(24, 48).String()
	default:
		if c.Name = e.name; c.Name == "" {
			return list
		}
	}
	return append(list, c)
}

// entryOf is called with mu held.
func (g *Guard) entryOf(k Kind, s subject, t int64) *entry {
	switch k {
	case Address:
		return g.addresses.find(s.block, t)
	case Network:
		return g.networks.find(s.block, t)
	default:
		return g.users.find(s.hash, t)
	}
}

// Learn takes over what another node says. What is worse here stays, and so does
// what would have to make room for something lighter. Nothing of a word that is
// malformed is taken over.
func (g *Guard) Learn(now time.Time, word []byte) error {
	var w Word
	if err := json.Unmarshal(word, &w); err != nil {
		return fmt.Errorf("%w: %w", ErrWord, err)
	}
	if len(w.Penalties) > maxSnapshot || len(w.Logins) > maxSnapshot {
		return fmt.Errorf("%w: %d penalties and %d logins", ErrWord, len(w.Penalties), len(w.Logins))
	}
	type told struct {
		kind Kind
		s    subject
		name string
		w    float32 // and of how many users
		n    float32
	}
	list := make([]told, 0, len(w.Penalties))
	for _, c := range w.Penalties {
		l := told{w: min(c.Weight, maxWord), n: min(c.Users, maxWord)}
		var ok bool
		if l.kind, l.s, l.name, ok = g.parse(c); !ok || !(c.Weight > 0) || !(c.Users >= 0) {
			return fmt.Errorf("%w: a penalty of kind %q", ErrWord, c.Kind)
		}
		list = append(list, l)
	}
	for _, l := range w.Logins {
		if !l.Address.IsValid() || l.Address.Zone() != "" || l.User == "" || len(l.User) > maxName {
			return fmt.Errorf("%w: a login", ErrWord)
		}
	}
	o := g.options.Load()
	if o.Off {
		return nil
	}
	t := g.nanos(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range list {
		if l.kind == User || !g.Exempts(l.s.address()) {
			g.take(l.kind, l.s, l.name, l.w, l.n, t)
		}
	}
	for _, l := range w.Logins {
		if g.known.see(g.pairOf(AddressOf(l.Address).Addr().As16(), g.userOf(l.User)), t) {
			g.news.keep(l)
		}
	}
	return nil
}

// take is called with mu held.
func (g *Guard) take(k Kind, s subject, name string, w, users float32, t int64) {
	var e *entry
	switch k {
	case Address:
		e = g.addresses.need(s.block, t, w)
	case Network:
		e = g.networks.need(s.block, t, w)
	default:
		if e = g.users.need(s.hash, t, w); e != nil && e.name == "" {
			e.name = name
		}
	}
	if e == nil || e.bad >= w {
		return
	}
	e.bad = w
	if k == Address {
		e.users = max(e.users, users)
	}
	g.Stats.Learnt.Add(1)
	if level := rules[k].level(e); level > e.told && k != User {
		e.next = max(e.next, t+int64(pauseOf(k, e, level)))
	}
	g.rise(k, e, s, false)
}

// parse reads a claim's subject.
func (g *Guard) parse(c Claim) (k Kind, s subject, name string, ok bool) {
	switch c.Kind {
	case "user":
		return User, subject{hash: g.userOf(c.Name)}, c.Name, c.Name != "" && len(c.Name) <= maxName
	case "address", "network":
		p, err := netip.ParsePrefix(c.Name)
		if err != nil || p.Addr().Is4In6() {
			return 0, s, "", false
		}
		k, want := Address, AddressOf(p.Addr())
		if c.Kind == "network" {
			k, want = Network, NetworkOf(p.Addr())
		}
		return k, subject{block: p.Addr().As16()}, "", p == want
	}
	return 0, s, "", false
}

func (s subject) address() netip.Addr { return netip.AddrFrom16(s.block).Unmap() }
