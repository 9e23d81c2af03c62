package guard

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxSnapshot bounds what a node that starts is told, of penalties and of pairs
	// each: the worst and the latest.
	maxSnapshot = 4096

	// maxOctets is how long a word may be: nodes take 1 MB of each other, with what is
	// around it.
	maxOctets = 1<<20 - 1<<12

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
			if e := g.entryOf(Kind(k), s, t); e != nil && e.fresh {
				e.fresh = false
				w.Penalties = appendClaim(w.Penalties, Kind(k), e, s)
			}
		}
		g.news.marked[k] = marked[:0]
	}
	w.Logins, g.news.logins = g.news.logins, nil
	g.mu.Unlock()
	w.worst(maxNews)
	return w.encode()
}

// Snapshot is what a node is told that starts: the worst penalties, and the pairs that
// logged in last.
func (g *Guard) Snapshot(now time.Time) []byte {
	t := g.nanos(now)
	g.mu.Lock()
	list := g.copied()
	w := Word{Logins: slices.Clone(g.news.latest)}
	g.mu.Unlock()
	for i := range list {
		if s := &list[i]; s.told > 0 {
			s.settle(t)
			w.Penalties = appendClaim(w.Penalties, s.kind, &s.entry, s.subject)
		}
	}
	w.worst(maxSnapshot)
	return w.encode()
}

// worst leaves the heaviest penalties, heaviest first.
func (w *Word) worst(n int) {
	slices.SortFunc(w.Penalties, func(a, b Claim) int { return cmp.Compare(b.Weight, a.Weight) })
	w.Penalties = w.Penalties[:min(len(w.Penalties), n)]
}

// encode leaves out of what is too long the lightest penalties and the latest logins,
// rather than to lose all: names may be long.
func (w *Word) encode() []byte {
	for len(w.Penalties)+len(w.Logins) > 0 {
		b, err := json.Marshal(w)
		if err != nil { // cannot be: names and numbers
			return nil
		}
		if len(b) <= maxOctets {
			return b
		}
		w.Penalties, w.Logins = w.Penalties[:len(w.Penalties)*3/4], w.Logins[:len(w.Logins)*3/4]
	}
	return nil
}

// appendClaim leaves out what has no weight any more, or no name.
func appendClaim(list []Claim, k Kind, e *entry, s subject) []Claim {
	c := Claim{Kind: k.String(), Weight: e.bad}
	switch k {
	case Address:
		c.Name, c.Users = s.block.shown(32, 64).String(), e.users
	case Network:
		c.Name = s.block.shown(24, 48).String()
	default:
		c.Name = e.name
	}
	if c.Name == "" || !(e.bad > 0) { // cleared meanwhile
		return list
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
// what would have to make room for something lighter. Entries that are malformed are
// left out, and the others taken over all the same: the error says how many. Nothing
// is taken of what is no word at all, or too long.
func (g *Guard) Learn(now time.Time, word []byte) error {
	var w heard
	var mistyped *json.UnmarshalTypeError // the rest is there
	if err := json.Unmarshal(word, &w); err != nil && !errors.As(err, &mistyped) {
		return fmt.Errorf("%w: %w", ErrWord, err)
	}
	if len(w.Penalties) > maxSnapshot || len(w.Logins) > maxSnapshot {
		return fmt.Errorf("%w: %d penalties and %d logins", ErrWord, len(w.Penalties), len(w.Logins))
	}
	o := g.options.Load()
	if o.Off {
		return nil
	}
	bad, t := 0, g.nanos(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range w.Penalties {
		k, s, name, ok := g.parse(c)
		if !ok || !(c.Weight > 0) || !(c.Users >= 0) {
			bad++
			continue
		}
		if k == User || !g.Exempts(s.address()) {
			g.take(k, s, name, min(c.Weight, maxWord), min(c.Users, maxWord), t)
		}
	}
	for _, l := range w.Logins {
		a, err := netip.ParseAddr(l.Address)
		if err != nil || a.Zone() != "" || l.User == "" || len(l.User) > maxName {
			bad++
			continue
		}
		a = a.Unmap()
		b := AddressOf(a).Addr().As16()
		if g.known.learn(g.pairOf(b, g.userOf(l.User)), t) {
			g.credit(b, NetworkOf(a).Addr().As16(), t, heardCredit)
			g.news.keep(Login{a, l.User})
		}
	}
	if bad > 0 || mistyped != nil {
		return fmt.Errorf("%w: %d of its entries, which were left out", ErrWord, max(bad, 1))
	}
	return nil
}

// heard is a Word as it comes in: an address that is none must not lose the rest.
type heard struct {
	Penalties []Claim `json:"penalties"`
	Logins    []struct {
		Address string `json:"address"`
		User    string `json:"user"`
	} `json:"logins"`
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
