package guard

import (
	"net/netip"
	"strings"
	"time"
)

// A Kind is what a penalty is about.
type Kind uint8

// Kinds.
const (
	Address Kind = iota
	Network
	User
	kinds
)

// Kinds lists the names of all Kinds, in order.
func Kinds() []string { return []string{"address", "network", "user"} }

// String is the value of a label.
func (k Kind) String() string { return Kinds()[k] }

var rules = [kinds]rule{Address: addressRule, Network: networkRule, User: userRule}

// A subject finds an entry again.
type subject struct {
	block block
	hash  uint64
}

const (
	// maxNews bounds what is told to other nodes at one time, of penalties and of
	// pairs each: a second's worth, in less than 256 KB.
	maxNews = 1024

	// maxEvents bounds the events kept up to the next Tick.
	maxEvents = 16
)

// news is what other nodes are to be told.
type news struct {
	marked [kinds][]subject
	logins []Login
	latest []Login // for a node that starts: maxSnapshot at most, in a ring
	oldest int
}

// A Login is a pair that has logged in.
type Login struct {
	Address netip.Addr `json:"address"`
	User    string     `json:"user"`
}

func (n *news) login(a *Attempt) {
	if len(a.User) > maxName {
		return
	}
	l := Login{a.Client.Unmap().WithZone(""), strings.Clone(a.User)}
	if len(n.logins) < maxNews {
		n.logins = append(n.logins, l)
	}
	n.keep(l)
}

// keep remembers a login for nodes that start.
func (n *news) keep(l Login) {
	if len(n.latest) < maxSnapshot {
		n.latest = append(n.latest, l)
		return
	}
	n.latest[n.oldest] = l
	n.oldest = (n.oldest + 1) % maxSnapshot
}

// An Event is that a penalty began or ended.
type Event struct {
	Kind    Kind
	Subject string // an address, a network or a user's name
	Ended   bool
	Pause   time.Duration // the least time between two tries now
}

// rise notes an entry whose level has changed. It is called with mu held.
func (g *Guard) rise(k Kind, e *entry, s subject, tell bool) {
	level := rules[k].level(e)
	if level == e.told {
		return
	}
	switch {
	case e.told == 0:
		g.penalties[k]++
		g.say(k, e, s, false)
	case level == 0:
		g.penalties[k]--
		g.say(k, e, s, true)
	}
	more := level > e.told
	e.told = level
	if m := &g.news.marked[k]; tell && more && !e.fresh && len(*m) < maxNews {
		e.fresh = true
		*m = append(*m, s)
	}
}

func (g *Guard) say(k Kind, e *entry, s subject, ended bool) {
	if len(g.happened) >= maxEvents {
		g.unsaid++
		return
	}
	v := Event{Kind: k, Subject: subjectName(k, e, s), Ended: ended}
	if !ended {
		v.Pause = pauseOf(k, e, rules[k].level(e))
	}
	g.happened = append(g.happened, v)
}

// subjectName is an entry's name for people. A user whose name was too long to be
// kept has none.
func subjectName(k Kind, e *entry, s subject) string {
	switch k {
	case Address:
		if p := s.block.shown(32, 64); p.Addr().Is6() {
			return p.String()
		} else {
			return p.Addr().String()
		}
	case Network:
		return s.block.shown(24, 48).String()
	default:
		return e.name
	}
}

func pauseOf(k Kind, e *entry, level uint8) time.Duration {
	switch k {
	case Address:
		return addressPause(e, level)
	case Network:
		return networkPause(level)
	case User:
		return answerDelay(level)
	default:
		return pause(level)
	}
}

// gone keeps the count of penalties right when an entry makes room.
func (g *Guard) gone(k Kind) func(*entry) {
	return func(e *entry) {
		if e.told > 0 {
			g.penalties[k]--
		}
	}
}
