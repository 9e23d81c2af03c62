package guard

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// paced has an address try a password of another user at each step, whether it was
// answered or not, and returns when the tries were that reached the back end.
func (w *world) paced(addr string, every, length time.Duration) (asked []time.Duration) {
	began := w.now
	var waits []*Attempt
	for n := 0; w.now.Sub(began) < length; n++ {
		waits = append(waits, w.attempt(addr, fmt.Sprint("victim", n), "Winter2026"))
		next := w.now.Add(every)
		for ; w.now.Before(next); w.now = w.now.Add(100 * time.Millisecond) {
			left := waits[:0]
			for _, a := range waits {
				switch v := w.Begin(w.now, a, maxAnswer); {
				case v.Go:
					asked = append(asked, w.now.Sub(began))
					w.End(w.now, a, Failed)
					w.Leave(a, 0)
				case v.Refuse:
					w.Leave(a, 0)
				default:
					left = append(left, a)
				}
			}
			waits = left
		}
	}
	return asked
}

// A hundred times fewer tries of an address reach the back end than without a guard,
// from its first penalty on: those of one that takes its time as well.
func TestHundredfold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		every time.Duration
	}{{"25 in two minutes", 4800 * time.Millisecond}, {"one a second", time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			asked := w.paced("192.0.2.1", tt.every, 3*time.Hour)
			var hours [3]int
			free := 0 // tries before there was a penalty
			for _, at := range asked {
				hours[at/time.Hour]++
				if free <= addressGrace {
					free++
				}
			}
			without := int(time.Hour / tt.every)
			t.Logf("of %d tries an hour %v reach the back end, %v before the first penalty", without, hours, free)
			t.Logf("they were at %v", asked[:min(len(asked), 14)])
			for h, n := range hours {
				if h == 0 {
					n -= free
				}
				if n*100 > without {
					t.Errorf("in hour %d %d of %d tries reach the back end", h+1, n, without)
				}
			}
		})
	}
}

// One who guesses at one user's password, or has a few accounts whose passwords were
// changed, is no spray: what others at his address feel stays what it was.
func TestHouseholdIsNoSpray(t *testing.T) {
	w := newWorld(t, Options{})
	for n := range 8 {
		for account := range sprayUsers {
			a := w.attempt("192.0.2.1", fmt.Sprint("account", account), fmt.Sprint("guess", n/4))
			if w.Begin(w.now, a, time.Minute).Go {
				w.Leave(a, w.End(w.now, a, Failed))
			}
			w.Leave(a, 0)
		}
		w.now = w.now.Add(time.Minute)
	}
	for _, p := range w.List(w.now) {
		if p.Kind == "address" && p.Pause > 30 {
			t.Errorf("a household has %+v", p)
		}
	}
}

// crowd has users come to an address where nobody is known, side by side, some of whom
// fail the first time, and returns the longest that one waited who did not fail, and how
// many were refused.
func (w *world) crowd(addr string, users int, failing float64, every time.Duration, r *rand.Rand) (longest time.Duration, refused int) {
	type coming struct {
		*Attempt
		since time.Time
		bad   bool
	}
	var here []coming
	for n := 0; n < users || len(here) > 0; n++ {
		if n < users {
			bad := r.Float64() < failing
			here = append(here, coming{w.attempt(addr, fmt.Sprint("customer", n), "x"), w.now, bad})
		}
		left := here[:0]
		for _, c := range here {
			v := w.Begin(w.now, c.Attempt, time.Minute)
			switch {
			case v.Go && c.bad:
				w.Leave(c.Attempt, w.End(w.now, c.Attempt, Failed))
			case v.Go:
				w.End(w.now, c.Attempt, Succeeded)
				longest = max(longest, w.now.Sub(c.since))
			case v.Refuse:
				w.Leave(c.Attempt, 0)
				if !c.bad {
					refused++
				}
			default:
				left = append(left, c)
			}
		}
		here = left
		w.now = w.now.Add(every)
	}
	return longest, refused
}

// Many strangers behind one address, of whom some mistype, are no spray: an office on
// its first morning, a webmail that nobody has told us of, a carrier's customers.
func TestCrowdIsNoSpray(t *testing.T) {
	for _, tt := range []struct {
		name    string
		users   int
		failing float64
		every   time.Duration
	}{
		{"an office's first morning", 500, 0.04, 100 * time.Millisecond},
		{"a new webmail", 3000, 0.06, 20 * time.Millisecond},
		{"a carrier's address", 1000, 0.10, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(3) {
				w := newWorld(t, Options{})
				longest, refused := w.crowd("192.0.2.1", tt.users, tt.failing, tt.every, rand.New(rand.NewPCG(seed, 1)))
				if longest > maxAnswer || refused > 0 {
					t.Errorf("seed %d: one of %d waited %v, %d were refused", seed, tt.users, longest, refused)
				}
			}
		})
	}
}

// What an address has sprayed at one node is a spray at the next.
func TestSprayIsTold(t *testing.T) {
	a, b := newWorld(t, Options{}), newWorld(t, Options{})
	a.paced("192.0.2.1", 5*time.Second, 19*time.Minute+55*time.Second)
	if err := b.Learn(b.now, a.Snapshot(a.now)); err != nil {
		t.Fatal(err)
	}
	here, there := a.List(a.now), b.List(b.now)
	if len(there) == 0 || there[0].Pause != sprayPause.Seconds() || here[0].Pause != there[0].Pause {
		t.Errorf("here %+v, there %+v", here, there)
	}
}

// A node that starts hears of the latest who have logged in, and tells it on.
func TestKnownAreTold(t *testing.T) {
	a := newWorld(t, Options{})
	const users = maxSnapshot + 100
	for n := range users {
		at := a.attempt(fmt.Sprintf("10.%d.%d.1", n/250, n%250), fmt.Sprint("user", n), "good")
		if !a.Begin(a.now, at, time.Minute).Go {
			t.Fatalf("user %d waits", n)
		}
		a.End(a.now, at, Succeeded)
	}
	b, c := newWorld(t, Options{}), newWorld(t, Options{})
	if err := b.Learn(b.now, a.Snapshot(a.now)); err != nil {
		t.Fatal(err)
	}
	if err := c.Learn(c.now, b.Snapshot(b.now)); err != nil {
		t.Fatal(err)
	}
	for n := range users {
		at := c.attempt(fmt.Sprintf("10.%d.%d.1", n/250, n%250), fmt.Sprint("user", n), "good")
		c.Begin(c.now, at, time.Minute)
		if want := n >= users-maxSnapshot; at.known != want {
			t.Fatalf("user %d is known: %v, want %v", n, at.known, want)
		}
	}
	if size := len(a.Snapshot(a.now)); size > 1<<20 {
		t.Errorf("%d octets are told", size)
	}
}

// Who clears one address, or one user, forgives nobody else.
func TestClearOne(t *testing.T) {
	for _, tt := range []struct {
		where, user string
		left        [3]bool // which of the pairs' failures
	}{
		{"192.0.2.1/32", "", [3]bool{2: true}}, {"192.0.2.0/24", "", [3]bool{2: true}}, {"", "ann", [3]bool{1: true}}, {"", "", [3]bool{}},
	} {
		w := newWorld(t, Options{})
		pairs := [][2]string{{"192.0.2.1", "ann"}, {"192.0.2.1", "joe"}, {"198.51.100.1", "ann"}}
		for _, p := range pairs {
			for n := range 3 {
				w.try(p[0], p[1], fmt.Sprint("guess", n), Failed)
			}
		}
		var where netip.Prefix
		if tt.where != "" {
			where = netip.MustParsePrefix(tt.where)
		}
		w.Clear(where, tt.user)
		for i, want := range tt.left {
			at := w.attempt(pairs[i][0], pairs[i][1], "")
			w.Begin(w.now, at, time.Minute)
			e := w.pairs.find(at.pair, w.nanos(w.now))
			if got := e != nil && e.bad > 1; got != want {
				t.Errorf("clear %q %q: the failures of %v are left: %v, want %v", tt.where, tt.user, pairs[i], got, want)
			}
		}
	}
}
