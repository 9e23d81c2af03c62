package guard

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// once asks for one login, which does not wait.
func (w *world) once(addr, user, password string, o Outcome) (asked bool) {
	a := w.attempt(addr, user, password)
	asked = w.Begin(w.now, a, time.Minute).Go
	if asked {
		w.End(w.now, a, o)
	}
	w.Leave(a, 0)
	return asked
}

// side begins so many logins side by side.
func (w *world) side(n int, addr, user string) (going, waiting []*Attempt, refused int) {
	for i := range n {
		a := w.attempt(addr, strings.ReplaceAll(user, "#", fmt.Sprint(i)), fmt.Sprint("guess", i))
		switch v := w.Begin(w.now, a, time.Minute); {
		case v.Go:
			going = append(going, a)
		case v.Refuse && v.Wait == 0:
			refused++
		default:
			waiting = append(waiting, a)
		}
	}
	return going, waiting, refused
}

// Who guesses at a user from that user's own address has few tries side by side, and
// the user's good logins do not give him new ones without a bound.
func TestKnownPairHasLanes(t *testing.T) {
	w := newWorld(t, Options{})
	w.try("192.0.2.1", "joe", "good", Succeeded)
	going, waiting, refused := w.side(100, "192.0.2.1", "joe")
	if len(going) != pairLanes || len(waiting) != pairQueue || refused != 100-pairLanes-pairQueue {
		t.Errorf("%d go, %d wait, %d are refused", len(going), len(waiting), refused)
	}
	for _, a := range going {
		w.Leave(a, w.End(w.now, a, Failed))
	}
	for _, a := range waiting {
		w.Leave(a, 0)
	}
	tries := 0
	for s := range 48 * 25 { // 25 tries a second, and he logs in each second
		if w.once("192.0.2.1", "joe", fmt.Sprint("more", s), Failed) {
			tries++
		}
		if s%25 == 0 && !w.once("192.0.2.1", "joe", "good", Succeeded) {
			t.Fatal("joe does not get in")
		}
		w.now = w.now.Add(time.Second / 25)
	}
	t.Logf("%d of 1,200 guesses in 48 s are tried, while he logs in each second", tries)
	if tries > 100 {
		t.Errorf("%d of 1,200 guesses are tried", tries)
	}
	if held := w.Held(); held != 0 {
		t.Errorf("%d are held", held)
	}
}

// A good login forgives what a person mistypes, and of what only a guesser fails half.
func TestGoodLoginForgives(t *testing.T) {
	for _, tt := range []struct{ guesses, want int }{{4, 2}, {12, 15}} {
		w := newWorld(t, Options{})
		w.try("192.0.2.1", "joe", "good", Succeeded)
		for i := range tt.guesses {
			w.try("192.0.2.1", "joe", fmt.Sprint("guess", i), Failed)
		}
		w.try("192.0.2.1", "joe", "good", Succeeded)
		w.now = w.now.Add(maxAnswer)
		if _, after, _ := w.try("192.0.2.1", "joe", "one more", Failed); after != time.Duration(tt.want)*time.Second {
			t.Errorf("after %d guesses and a good login the next failure is answered after %v, want %d s", tt.guesses, after, tt.want)
		}
	}
}

// A known user gets in whatever those do who share his address: they guess at him from
// it, it is under penalty and others wait there, or nobody finds a place any more.
func TestKnownIsNotLockedOut(t *testing.T) {
	in := func(t *testing.T, w *world) {
		t.Helper()
		for i := range 20 {
			if !w.once("192.0.2.1", "joe", "good", Succeeded) {
				t.Fatalf("joe is not tried at once, time %d", i)
			}
			w.now = w.now.Add(time.Second)
		}
	}
	start := func(t *testing.T) *world {
		w := newWorld(t, Options{})
		w.try("192.0.2.1", "joe", "good", Succeeded)
		w.try("192.0.2.1", "ann", "", Succeeded) // by SCRAM: her password is not seen
		return w
	}
	ann := func(t *testing.T, w *world) {
		t.Helper()
		if !w.once("192.0.2.1", "ann", "", Failed) {
			t.Error("ann is not tried at once")
		}
		w.now = w.now.Add(-time.Millisecond)
		if v := w.Begin(w.now, w.attempt("192.0.2.1", "ann", ""), time.Minute); v.Go || v.Refuse {
			t.Errorf("who has failed is told %+v, and should wait", v)
		}
	}
	t.Run("guessed at by 520 of his address", func(t *testing.T) {
		w := start(t)
		w.side(520, "192.0.2.1", "joe")
		in(t, w)
		ann(t, w)
	})
	t.Run("among 520 strangers of his address", func(t *testing.T) {
		w := start(t)
		w.side(520, "192.0.2.1", "user#")
		in(t, w)
		ann(t, w)
	})
	t.Run("under penalty", func(t *testing.T) {
		w := start(t)
		for i := range 30 {
			w.once("192.0.2.1", fmt.Sprint("user", i), "x", Failed)
		}
		w.side(10, "192.0.2.1", "stranger#")
		in(t, w)
		ann(t, w)
	})
	t.Run("with no place left", func(t *testing.T) {
		w := start(t)
		for i := range 10 {
			w.side(600, fmt.Sprintf("10.0.%d.1", i), "user#")
		}
		if w.held != maxHeld {
			t.Fatalf("%d are held", w.held)
		}
		in(t, w)
		ann(t, w)
	})
}

// Not even the tag that finds the good password again tells it.
func TestTagIsSmall(t *testing.T) {
	w := newWorld(t, Options{})
	w.try("192.0.2.1", "joe", "good", Succeeded)
	same := 0
	for i := range 1 << 16 {
		a := w.attempt("192.0.2.1", "joe", fmt.Sprint("guess", i))
		if _, proven := w.known.has(w.pairOf(AddressOf(a.Client).Addr().As16(), w.userOf("joe")), a.Digest); proven {
			same++
		}
	}
	t.Logf("%d of 65,536 guesses look like it", same)
	if same > 16 {
		t.Errorf("%d of 65,536 guesses look like it", same)
	}
}

// Who lets the back end's challenge stand keeps no lane for nothing.
func TestUnansweredCounts(t *testing.T) {
	w := newWorld(t, Options{})
	for range 20 {
		going, _, _ := w.side(addressLanes, "192.0.2.1", "user#")
		w.now = w.now.Add(10 * time.Second)
		for _, a := range going {
			w.End(w.now, a, Unanswered)
			w.Leave(a, 0)
		}
	}
	if list := w.List(w.now); len(list) == 0 || list[0].Name != "192.0.2.1" {
		t.Errorf("penalties: %+v", list)
	}
	w.try("192.0.2.9", "joe", "", Succeeded)
	going, _, _ := w.side(pairLanes, "192.0.2.9", "joe")
	for _, a := range going {
		w.End(w.now, a, Unanswered)
	}
	if going, _, _ := w.side(pairLanes, "192.0.2.9", "joe"); len(going) != 1 {
		t.Errorf("%d of a known pair are tried side by side after that", len(going))
	}
}

// What is bad in a word loses nothing else of it.
func TestOneBadEntry(t *testing.T) {
	const good = `{"kind":"address","name":"192.0.2.1/32","weight":20}`
	for _, bad := range []string{
		`{"kind":"address","name":"192.0.2.7/32","weight":0}`, `{"kind":"address","name":"192.0.2.7/32","weight":"x"}`,
		`{"kind":"moon","name":"x","weight":3}`, `7`, `{"kind":"address","name":"fe80::1%eth0/64","weight":3}`,
	} {
		w := newWorld(t, Options{})
		if err := w.Learn(w.now, []byte(`{"penalties":[`+bad+`,`+good+`],"logins":[{"address":"192.0.2.1","user":"joe"}]}`)); err == nil {
			t.Errorf("%s is not complained of", bad)
		}
		if list := w.List(w.now); len(list) != 1 || list[0].Name != "192.0.2.1" {
			t.Errorf("with %s: %+v", bad, list)
		}
	}
	for _, bad := range []string{`{"address":"fe80::1%eth0","user":"x"}`, `{"address":"moon","user":"x"}`, `{"address":7,"user":"x"}`, `[]`} {
		w := newWorld(t, Options{})
		if err := w.Learn(w.now, []byte(`{"logins":[`+bad+`,{"address":"192.0.2.1","user":"joe"}],"penalties":[`+good+`]}`)); err == nil {
			t.Errorf("%s is not complained of", bad)
		}
		if len(w.List(w.now)) != 1 || !w.once("192.0.2.1", "joe", "good", Succeeded) {
			t.Errorf("with %s the rest is lost", bad)
		}
	}
	a := newWorld(t, Options{}) // and what has been cleared is not told
	for i := range 12 {
		a.try("192.0.2.1", fmt.Sprint("user", i), "x", Failed)
	}
	a.Clear(AddressOf(a.attempt("192.0.2.1", "x", "").Client), "")
	if word := a.News(a.now); word != nil && strings.Contains(string(word), `"weight":0`) {
		t.Errorf("told: %s", word)
	}
}

// Who logs in at one node counts for his address at the others, within a bound.
func TestCreditIsHeard(t *testing.T) {
	a, b := newWorld(t, Options{}), newWorld(t, Options{})
	for i := range 40 {
		a.try("192.0.2.1", fmt.Sprint("user", i), "good", Succeeded)
	}
	if err := b.Learn(b.now, a.News(a.now)); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		b.once("192.0.2.1", fmt.Sprint("nobody", i), "x", Failed)
	}
	if list := b.List(b.now); len(list) != 0 {
		t.Errorf("an office of 40 is penalised where it is only heard of: %+v", list)
	}
	for range 10 {
		b.now = b.now.Add(creditAgain)
		var w Word
		for i := range maxSnapshot {
			w.Logins = append(w.Logins, Login{a.attempt("198.51.100.1", "", "").Client, fmt.Sprint("liar", i)})
		}
		word, _ := json.Marshal(w)
		if err := b.Learn(b.now, word); err != nil {
			t.Fatal(err)
		}
	}
	e := b.addresses.find(AddressOf(a.attempt("198.51.100.1", "", "").Client).Addr().As16(), b.nanos(b.now))
	if e.good > heardCredit {
		t.Errorf("%v users are believed", e.good)
	}
}

// A peer that lies pushes out nobody who has logged in here.
func TestLiarPushesOutNobody(t *testing.T) {
	w := newWorld(t, Options{Entries: 256})
	for i := range 200 {
		w.try("192.0.2.1", fmt.Sprint("user", i), "good", Succeeded)
	}
	var word Word
	for i := range maxSnapshot {
		word.Logins = append(word.Logins, Login{w.attempt("198.51.100.1", "", "").Client, fmt.Sprint("liar", i)})
	}
	b, _ := json.Marshal(word)
	if err := w.Learn(w.now, b); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if known, _ := w.known.has(w.pairOf(AddressOf(w.attempt("192.0.2.1", "", "").Client).Addr().As16(), w.userOf(fmt.Sprint("user", i))), 0); !known {
			t.Fatalf("user %d is not known any more", i)
		}
	}
	heard := 0
	for _, l := range w.known.slots {
		if l.heard {
			heard++
		}
	}
	if heard != w.known.heard || heard > 128 || len(w.known.slots) > 256 || len(w.known.at) != len(w.known.slots) {
		t.Errorf("%d heard, counted as %d, of %d", heard, w.known.heard, len(w.known.slots))
	}
}

// A user's own level refuses nobody, however short the time is.
func TestUserLevelRefusesNobody(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 30 {
		w.once(fmt.Sprintf("10.0.%d.1", i), "joe", fmt.Sprint(i), Failed)
		w.once(fmt.Sprintf("10.0.%d.1", i), "joe", fmt.Sprint(i), Failed)
		w.now = w.now.Add(20 * time.Second)
	}
	for _, patience := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, time.Minute} {
		a := w.attempt("203.0.113.1", "joe", "good")
		v := w.Begin(w.now, a, patience)
		if v.Go || v.Refuse || v.Wait > patience/2 {
			t.Errorf("with patience for %v he is told %+v", patience, v)
		}
		if v = w.Begin(w.now.Add(v.Wait), a, patience-v.Wait); !v.Go {
			t.Errorf("then he is told %+v", v)
		}
		w.End(w.now, a, Neither)
	}
}

// One network does not take the places of all.
func TestPlacesOfANetwork(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 200 {
		w.side(30, fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("user#-%d", i))
	}
	if w.held > networkQueue {
		t.Errorf("a network holds %d places of %d", w.held, maxHeld)
	}
	if _, waiting, refused := w.side(10, "198.51.100.1", "user#"); refused != 0 || len(waiting) != 10-addressLanes {
		t.Errorf("elsewhere %d wait, %d are refused", len(waiting), refused)
	}
}

// What a node that starts is told is the worst, and fits in a word.
func TestSnapshotIsTheWorst(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 3 * maxSnapshot {
		name := strings.Repeat("\x01", maxName-8) + fmt.Sprintf("%08d", i) // six octets each, as JSON
		e := w.users.need(w.userOf(name), 0, 0)
		e.name, e.bad = name, float32(6+i%20)
		w.rise(User, e, subject{hash: w.userOf(name)}, false)
	}
	b := w.Snapshot(w.now)
	var word Word
	if err := json.Unmarshal(b, &word); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d penalties in %d octets", len(word.Penalties), len(b))
	if len(b) > maxOctets || len(word.Penalties) < 500 {
		t.Errorf("%d penalties in %d octets", len(word.Penalties), len(b))
	}
	worst, told := 0, 0
	for i := range w.users.slots {
		if w.users.slots[i].bad == 25 {
			worst++
		}
	}
	for _, c := range word.Penalties {
		if c.Weight == 25 {
			told++
		}
	}
	if told != worst || worst == 0 {
		t.Errorf("%d of the %d worst are told", told, worst)
	}
}

// Showing many penalties keeps logins waiting for no longer than their copying takes.
func TestListHoldsTheLockShortly(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range defaultEntries {
		b := block{10: 0xff, 11: 0xff, 12: 10, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		e := w.addresses.need(b, 0, 0)
		e.bad = 10
		w.rise(Address, e, subject{block: b}, false)
	}
	began := time.Now()
	w.mu.Lock()
	list := w.copied()
	w.mu.Unlock()
	locked := time.Since(began)
	all := len(w.List(w.now))
	t.Logf("%d penalties are copied in %v and shown in %v", len(list), locked, time.Since(began)-locked)
	if all != defaultEntries || len(list) != all {
		t.Errorf("%d shown, %d copied", all, len(list))
	}
}
