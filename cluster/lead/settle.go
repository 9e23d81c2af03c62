package lead

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

const (
	// AgreeFor is how long all nodes have to say the same before it becomes the
	// fleet's: while they are restarted one by one, some are not counted for moments.
	AgreeFor = 5 * member.Second
	// HeardFor is for how long a report tells what a node says.
	HeardFor = 3 * member.Second
	// CollideEvery is the time between two looks whether pins would collide: it looks
	// at all of them.
	CollideEvery = 60 * member.Second
)

// A settler is the leader's part in what all nodes must do alike.
type settler struct {
	says      member.Config // all nodes
	agreed    int64         // since when; 0: they do not
	wants     bool          // keys should change: no user is moved any more
	problem   string        // why they cannot
	looked    int64         // when that was looked for
	lookedFor place.Names
	closed    since // since when everybody is closed
}

// agree notes what all nodes say that are counted, once they all do.
func (l *Leader) agree(now int64) {
	s := &l.settler
	var says member.Config
	some := false
	for _, m := range l.t.Members {
		if m.Witness || !m.Counted {
			continue
		}
		n := l.of(m)
		c := n.report.Config
		if n.report.Life != m.Life || now-n.heard > HeardFor || some && !c.Same(says) {
			s.agreed = 0
			return
		}
		says, some = c, true
	}
	switch {
	case !some || says.Names.Validate() != nil:
		s.agreed = 0
	case s.agreed == 0 || !s.says.Same(says):
		s.says, s.agreed = says, now
	}
}

// agreed says whether all have said the same for long enough. Who is alone has
// nobody to wait for.
func (l *Leader) agreed(now int64) bool {
	s := &l.settler
	return s.agreed != 0 && (now-s.agreed >= AgreeFor || l.alone != "")
}

// settle makes what all nodes say the fleet's.
func (l *Leader) settle(now int64) []table.Command {
	l.agree(now)
	s, is := &l.settler, l.t.Settings
	if is.Number == 0 {
		return nil // the owner says what holds at first
	}
	if l.t.Settling != nil {
		return l.rekey(now, l.t.Settling)
	}
	s.closed, s.wants = since{}, false
	if !l.agreed(now) {
		return nil
	}
	next := is
	next.Number++
	next.Names, next.KickDelay, next.Retention = s.says.Names, s.says.KickDelay, s.says.Retention
	if next.Names != is.Names {
		next.Keys++
		if s.wants = l.mayRekey(now, next.Names); !s.wants || len(l.t.Moves) > 0 {
			return nil // of moves those that are under way are waited for
		}
	} else if s.problem = ""; next.KickDelay == is.KickDelay && next.Retention == is.Retention {
		return nil
	}
	return l.say(now, fmt.Sprintf("settle %d", next.Number), table.Settle{Term: l.term, Number: is.Number, Settings: &next})
}

// mayRekey says whether keys may change: no pin would be lost.
func (l *Leader) mayRekey(now int64, names place.Names) bool {
	s := &l.settler
	if l.o.Key == nil {
		return false
	}
	if s.looked != 0 && now-s.looked < CollideEvery && s.lookedFor == names {
		return s.problem == ""
	}
	s.lookedFor = names
	s.problem, s.looked = "", now
	if users := l.t.Collide(names); len(users) > 0 {
		s.problem = fmt.Sprintf("%v: %s", table.ErrCollide, strings.Join(users, " "))
	}
	return s.problem == ""
}

// Problem says why users' names cannot be normalised as all nodes say; empty if
// nothing is in the way.
func (l *Leader) Problem() string { return l.settler.problem }

// rekey goes on with a change of keys: pins first, then everybody is closed (view),
// then it ends.
func (l *Leader) rekey(now int64, st *table.Settling) []table.Command {
	s := &l.settler
	number := st.Settings.Number
	if !l.t.Rekeyed() {
		other := l.agreed(now) && s.says.Names != st.Settings.Names
		pins, ok := l.newKeys(st)
		if other || !ok {
			return l.say(now, fmt.Sprintf("unsettle %d", number), table.Settle{Term: l.term, Number: number - 1})
		}
		return l.say(now, fmt.Sprintf("rekey %d %d", number, len(st.Keys)), table.Rekey{Term: l.term, Number: number, Pins: pins})
	}
	if !l.t.AllClosed() {
		s.closed = since{}
		return nil
	}
	if s.closed.at == 0 || s.closed.enters != l.t.Enters {
		s.closed = since{enters: l.t.Enters, at: now}
	}
	if now-s.closed.at < l.kickDelay() {
		return nil
	}
	return l.say(now, fmt.Sprintf("settled %d", number), table.Settled{Term: l.term, Number: number, Enters: s.closed.enters})
}

// newKeys computes the keys of some pins that have none yet. Two users who share one
// are in the way: once in ten million fleets.
func (l *Leader) newKeys(st *table.Settling) (pins table.Renames, ok bool) {
	if l.o.Key == nil {
		return nil, false
	}
	for k, p := range l.t.Pins.Any() {
		if _, done := st.Keys[k]; done {
			continue
		}
		name := st.Settings.Names.Normal(p.User)
		key, ok := l.o.Key(st.Settings, p.Pool, name)
		if !ok {
			return nil, false
		}
		if other, taken := st.Has(key); taken {
			if o, _ := l.t.Pins.Find(other); o.Pool != p.Pool || st.Settings.Names.Normal(o.User) != name {
				l.settler.problem = fmt.Sprintf("%v: %s %s", table.ErrSameKey, o.User, p.User)
				return nil, false
			}
		}
		if pins = append(pins, table.Rename{Old: k, New: key}); len(pins) == table.MaxRenames {
			break
		}
	}
	slices.SortFunc(pins, func(a, b table.Rename) int { return cmp.Compare(a.Old, b.Old) })
	return pins, true
}

// Differ says of each node in words what its configuration says otherwise than the
// fleet does, and who names other voters than most nodes.
func (l *Leader) Differ() map[string][]string {
	says := make(map[string]member.Config)
	same := make(map[string]int) // by name: how many name the same voters
	most := ""
	for _, name := range slices.Sorted(maps.Keys(l.t.Members)) {
		m := l.t.Members[name]
		if n := l.of(m); !m.Witness && n.heard != 0 {
			says[name] = n.report.Config
		}
	}
	for _, name := range slices.Sorted(maps.Keys(says)) {
		for _, c := range says {
			if says[name].VotersDiffer(c) == "" {
				same[name]++
			}
		}
		if most == "" || same[name] > same[most] {
			most = name
		}
	}
	list := make(map[string][]string)
	for name, c := range says {
		d := c.Differs(l.t.Settings)
		if v := c.VotersDiffer(says[most]); v != "" {
			d = append(d, v)
		}
		if len(d) > 0 {
			list[name] = d
		}
	}
	return list
}
