package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

// A world is a guard and its time, which passes by waiting.
type world struct {
	t testing.TB
	*Guard
	now time.Time
}

func newWorld(t testing.TB, o Options) *world { return &world{t, New(o, start), start} }

func (w *world) attempt(addr, user, password string) *Attempt {
	return &Attempt{Client: netip.MustParseAddr(addr), User: user, Digest: w.Digest(user, []byte(password))}
}

// try does one login as a session does, and says for how long it waited before the
// try and before the answer, and whether the back end was asked.
func (w *world) try(addr, user, password string, o Outcome) (before, after time.Duration, asked bool) {
	w.t.Helper()
	a := w.attempt(addr, user, password)
	for range 1000 {
		v := w.Begin(w.now, a, time.Minute)
		if v.Go {
			after = w.End(w.now, a, o)
			w.now = w.now.Add(after)
			w.Leave(a, after)
			return before, after, true
		}
		w.now = w.now.Add(v.Wait)
		before += v.Wait
		if v.Refuse {
			w.Leave(a, before)
			return before, 0, false
		}
	}
	w.t.Fatal("a login waits for ever")
	return 0, 0, false
}

// One person who mistypes waits as at a Dovecot.
func TestCurve(t *testing.T) {
	w := newWorld(t, Options{})
	for i, want := range []time.Duration{2, 4, 8, 15, 15} {
		before, after, asked := w.try("192.0.2.1", "joe", fmt.Sprint("guess", i), Failed)
		if after != want*time.Second || before != 0 || !asked {
			t.Errorf("failure %d waits %v, then %v, asked %v; want 0 and %v s", i+1, before, after, asked, int(want))
		}
	}
	if _, after, asked := w.try("192.0.2.1", "joe", "right", Succeeded); after != 0 || !asked {
		t.Errorf("his good login waits %v, asked %v", after, asked)
	}
	if before, after, _ := w.try("192.0.2.1", "joe", "guess again", Failed); before != 0 || after != 2*time.Second {
		t.Errorf("after it he waits %v and %v; want the curve from its beginning", before, after)
	}
}

// A hostile address is slower and slower, whatever names it guesses; the number of
// its tries in an hour is bounded.
func TestSprayOfOneAddress(t *testing.T) {
	w := newWorld(t, Options{})
	tries := 0
	for w.now.Before(start.Add(time.Hour)) {
		if _, _, asked := w.try("192.0.2.1", fmt.Sprint("user", w.now.UnixNano()), "Winter2026", Failed); asked {
			tries++
		} else if held := w.held; held != 0 {
			t.Fatalf("%d are held", held)
		}
	}
	if tries > 12 || tries < 6 {
		t.Errorf("%d tries in an hour, want 6 to 12", tries)
	}
	t.Logf("%d tries in the first hour", tries)
	tries = 0
	for w.now.Before(start.Add(2 * time.Hour)) {
		if _, _, asked := w.try("192.0.2.1", fmt.Sprint("user", w.now.UnixNano()), "Winter2026", Failed); asked {
			tries++
		}
	}
	t.Logf("%d in the second", tries)
	if tries > 5 {
		t.Errorf("%d tries in the second hour", tries)
	}
	if list := w.List(w.now); len(list) == 0 || list[0].Name != "192.0.2.1" || list[0].Kind != "address" {
		t.Errorf("the list begins with %+v", list[:min(1, len(list))])
	}
}

// Many connections at once do not get more: few are under way, few wait, the rest
// is refused at once.
func TestParallel(t *testing.T) {
	w := newWorld(t, Options{})
	var ways, waits, refused int
	var going []*Attempt
	for i := range 1000 {
		a := w.attempt("192.0.2.1", fmt.Sprint("user", i), "x")
		switch v := w.Begin(w.now, a, time.Minute); {
		case v.Go:
			ways++
			going = append(going, a)
		case v.Refuse:
			refused++
		default:
			waits++
		}
	}
	if ways != addressLanes || waits != cleanQueue || refused != 1000-addressLanes-cleanQueue {
		t.Errorf("of a clean address %d go, %d wait, %d are refused", ways, waits, refused)
	}
	for _, a := range going {
		w.End(w.now, a, Failed)
	}
	ways, waits, refused = 0, 0, 0
	for i := range 1000 {
		switch v := w.Begin(w.now.Add(time.Minute), w.attempt("192.0.2.1", fmt.Sprint("other", i), "x"), time.Minute); {
		case v.Go:
			ways++
		case v.Refuse:
			refused++
		default:
			waits++
		}
	}
	if ways > 1 || waits > penaltyQueue {
		t.Errorf("under penalty %d go, %d wait, %d are refused", ways, waits, refused)
	}
	if w.held > maxHeld {
		t.Errorf("%d are held", w.held)
	}
}

// A phone with an old password counts once, and its neighbours feel nothing.
func TestSameMistake(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 100 {
		before, after, asked := w.try("192.0.2.1", "joe", "old", Failed)
		if before != 0 || after != 2*time.Second || !asked {
			t.Fatalf("time %d waits %v and %v, asked %v", i, before, after, asked)
		}
		w.now = w.now.Add(5 * time.Second)
	}
	if n := w.Stats.Repeats.Load(); n != 99 {
		t.Errorf("%d repeats, want 99", n)
	}
	if before, _, asked := w.try("192.0.2.1", "ann", "good", Succeeded); before != 0 || !asked {
		t.Errorf("ann waits %v, asked %v", before, asked)
	}
	if l := w.List(w.now); len(l) != 0 {
		t.Errorf("penalties %+v", l)
	}
}

// An office of 500 behind one address with ten devices that guess all the time: who
// has been there before waits for nothing.
func TestOffice(t *testing.T) {
	w := newWorld(t, Options{})
	for u := range 500 {
		if before, _, asked := w.try("192.0.2.1", fmt.Sprint("user", u), "good", Succeeded); before > 0 || !asked {
			t.Fatalf("user %d waits %v, asked %v, on the first morning", u, before, asked)
		}
	}
	for n := range 400 {
		for d := range 10 { // not by try: these wait side by side
			a := w.attempt("192.0.2.1", fmt.Sprint("user", d), fmt.Sprint("bad", n))
			if w.Begin(w.now, a, time.Minute).Go {
				w.Leave(a, w.End(w.now, a, Failed))
			} else {
				w.Leave(a, 0)
			}
			b := w.attempt("192.0.2.1", fmt.Sprint("nobody", d), fmt.Sprint("bad", n))
			if w.Begin(w.now, b, time.Minute).Go {
				w.Leave(b, w.End(w.now, b, Failed))
			} else {
				w.Leave(b, 0)
			}
		}
		u := fmt.Sprint("user", 10+n)
		if before, _, asked := w.try("192.0.2.1", u, "good", Succeeded); before > 0 || !asked {
			t.Fatalf("%s waits %v, asked %v", u, before, asked)
		}
		w.now = w.now.Add(time.Second)
	}
}

// 2,000 addresses guess one user's password. At his known address he feels nothing;
// from a new one he waits, and gets in.
func TestDistributedSprayOnOneUser(t *testing.T) {
	w := newWorld(t, Options{})
	w.try("198.51.100.1", "joe", "good", Succeeded)
	for i := range 2000 {
		a := w.attempt(fmt.Sprintf("10.%d.%d.1", i/250, i%250), "joe", fmt.Sprint("guess", i))
		for {
			v := w.Begin(w.now, a, time.Minute)
			if v.Go {
				break
			}
			w.now = w.now.Add(min(v.Wait, 10*time.Millisecond)) // they wait side by side
			if v.Refuse {
				t.Fatalf("address %d is refused: %v", i, v.Reason)
			}
		}
		w.Leave(a, w.End(w.now, a, Failed))
	}
	if before, _, asked := w.try("198.51.100.1", "joe", "good", Succeeded); before != 0 || !asked {
		t.Errorf("at home he waits %v, asked %v", before, asked)
	}
	if before, _, asked := w.try("203.0.113.9", "joe", "good", Succeeded); before != maxAnswer || !asked {
		t.Errorf("on his journey he waits %v, asked %v; want %v", before, asked, maxAnswer)
	}
	if before, _, asked := w.try("203.0.113.10", "ann", "good", Succeeded); before != 0 || !asked {
		t.Errorf("ann waits %v, asked %v", before, asked)
	}
}

// Fresh addresses of one IPv6 /48, or of one /24, are slowed together.
func TestRotation(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr func(i int) string
	}{
		{"IPv6 /48", func(i int) string { return fmt.Sprintf("2001:db8:7:%x::1", i%65536) }},
		{"IPv4 /24", func(i int) string { return fmt.Sprintf("192.0.2.%d", i%256) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			tries := 0
			for i := 0; w.now.Before(start.Add(10 * time.Minute)); i++ {
				a := w.attempt(tt.addr(i), fmt.Sprint("user", i), "x")
				v := w.Begin(w.now, a, time.Minute)
				if v.Go {
					tries++
					w.End(w.now, a, Failed)
				}
				w.Leave(a, 0) // does not wait for his answer
				w.now = w.now.Add(10 * time.Millisecond)
			}
			t.Logf("%d of 60,000 tries in ten minutes reach a back end", tries)
			if tries > 600 {
				t.Errorf("%d of 60,000 tries reach a back end", tries)
			}
			if before, _, asked := w.try("198.51.100.1", "joe", "good", Succeeded); before != 0 || !asked {
				t.Errorf("elsewhere one waits %v", before)
			}
		})
	}
}

// A flood of fresh addresses pushes out each other, not the worst.
func TestFloodDoesNotWashOut(t *testing.T) {
	const room = 4096
	w := newWorld(t, Options{Entries: room})
	worst := map[string]bool{}
	for i := range 100 {
		addr := fmt.Sprintf("198.51.%d.1", i)
		worst[addr] = true
		for n := range 12 {
			a := w.attempt(addr, fmt.Sprint("user", n), "x")
			w.Begin(w.now, a, time.Minute)
			a.underway = true // as if its pause had passed
			w.Leave(a, w.End(w.now, a, Failed))
		}
	}
	for i := range 20 * room {
		a := w.attempt(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "joe", fmt.Sprint(i))
		if w.Begin(w.now, a, time.Minute); a.underway {
			w.Leave(a, w.End(w.now, a, Failed))
		}
		w.Leave(a, 0)
	}
	for name, size := range w.Sizes() {
		if size[0] > size[1] {
			t.Errorf("%s has %d of %d entries", name, size[0], size[1])
		}
	}
	left := 0
	for _, p := range w.List(w.now) {
		if worst[p.Name] {
			left++
		}
	}
	if left != len(worst) {
		t.Errorf("%d of the %d worst are left", left, len(worst))
	}
	if got := w.Penalties(); got[Address] < left {
		t.Errorf("%d penalties are counted, %d listed", got[Address], left)
	}
}

// What is full takes 32 MB at most.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := newWorld(t, Options{})
	for i := range 1 << 17 {
		user := fmt.Sprintf("user%d@a-domain-of-usual-length.example.org", i)
		a := w.attempt(fmt.Sprintf("%d.%d.%d.7", 11+i>>16, i>>8&255, i&255), user, "x")
		a.Client = netip.AddrFrom4([4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), 7})
		o := Failed
		if i%2 == 0 {
			o = Succeeded
		}
		if w.Begin(w.now, a, time.Minute); a.underway {
			w.End(w.now, a, o)
		}
		w.Leave(a, 0)
	}
	w.News(w.now)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%v take %.1f MB", w.Sizes(), float64(after.HeapAlloc-before.HeapAlloc)/1e6)
	if got := after.HeapAlloc - before.HeapAlloc; got > 32e6 {
		t.Errorf("%d octets", got)
	}
	runtime.KeepAlive(w)
}

// Time heals, and is told once.
func TestDecay(t *testing.T) {
	w := newWorld(t, Options{})
	for n := range 8 {
		w.try("192.0.2.1", fmt.Sprint("user", n), "x", Failed)
	}
	events, more := w.Tick(w.now)
	if len(events) != 1 || more != 0 || events[0].Subject != "192.0.2.1" || events[0].Ended || events[0].Pause == 0 {
		t.Errorf("events %+v and %d more", events, more)
	}
	w.now = w.now.Add(4 * halfLife)
	var ended []Event
	for range sweepShare {
		e, _ := w.Tick(w.now)
		ended = append(ended, e...)
	}
	if len(ended) != 1 || !ended[0].Ended || ended[0].Subject != "192.0.2.1" {
		t.Errorf("at the end: %+v", ended)
	}
	w.now = w.now.Add(10 * halfLife)
	for range 2 * sweepShare {
		w.Tick(w.now)
	}
	for name, size := range w.Sizes() {
		if size[0] != 0 {
			t.Errorf("%d entries of memory %s are left", size[0], name)
		}
	}
}

func TestClear(t *testing.T) {
	for _, tt := range []struct {
		where, user string
		left        int
	}{{"192.0.2.1/32", "", 2}, {"192.0.2.0/24", "", 2}, {"", "joe", 2}, {"", "", 0}, {"203.0.113.0/24", "", 3}} {
		w := newWorld(t, Options{})
		for n := range 12 { // 10 of an address, 10 of another, of one user
			for _, addr := range []string{"192.0.2.1", "198.51.100.1"} {
				w.try(addr, "joe", fmt.Sprint(n), Failed)
			}
		}
		var where netip.Prefix
		if tt.where != "" {
			where = netip.MustParsePrefix(tt.where)
		}
		before := len(w.List(w.now))
		n := w.Clear(where, tt.user)
		if left := len(w.List(w.now)); before != 3 || left != tt.left || n != before-left {
			t.Errorf("clear %q %q: %d cleared of %d, %d left, want %d", tt.where, tt.user, n, before, left, tt.left)
		}
		if sum := w.Penalties(); sum[0]+sum[1]+sum[2] != tt.left {
			t.Errorf("clear %q %q: %v are counted", tt.where, tt.user, sum)
		}
	}
}

// What one node has seen another one knows: penalties, and who is known.
func TestWords(t *testing.T) {
	a, b := newWorld(t, Options{}), newWorld(t, Options{Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	a.try("192.0.2.1", "joe", "good", Succeeded)
	for n := range 12 {
		a.try("192.0.2.1", fmt.Sprint("user", n), "x", Failed)
		a.try("198.51.100.1", fmt.Sprint("user", n), "x", Failed)
	}
	word := a.News(a.now)
	if bytes.Contains(word, []byte("good")) {
		t.Errorf("the word has a password: %s", word)
	}
	if err := b.Learn(b.now, word); err != nil {
		t.Fatal(err)
	}
	if again := a.News(a.now); again != nil {
		t.Errorf("it is told twice: %s", again)
	}
	if echo := b.News(b.now); echo != nil {
		t.Errorf("it is told on: %s", echo)
	}
	if _, _, asked := b.try("192.0.2.1", "somebody", "x", Failed); asked {
		t.Error("the address is as free at the other node as anybody")
	}
	if before, _, asked := b.try("192.0.2.1", "joe", "good", Succeeded); before != 0 || !asked {
		t.Errorf("who is known at one node waits %v at the other, asked %v", before, asked)
	}
	if before, _, asked := b.try("198.51.100.1", "somebody", "x", Failed); before != 0 || !asked {
		t.Error("an exempt network is slowed by what another node says")
	}
	c := newWorld(t, Options{})
	if err := c.Learn(c.now, a.Snapshot(a.now)); err != nil {
		t.Fatal(err)
	}
	if _, _, asked := c.try("192.0.2.1", "somebody", "x", Failed); asked {
		t.Error("a node that starts does not learn")
	}
}

// A peer gone mad gets little: its word weighs no more than maxWord, and pushes out
// nobody who is worse.
func TestMadPeer(t *testing.T) {
	w := newWorld(t, Options{Entries: 64})
	for _, bad := range []string{
		"", "{", `{"penalties":[{"kind":"address","name":"192.0.2.0/24","weight":3}]}`, `{"penalties":[{"kind":"network","name":"0.0.0.0/0","weight":3}]}`,
		`{"penalties":[{"kind":"address","name":"192.0.2.1/32","weight":-3}]}`, `{"penalties":[{"kind":"address","name":"192.0.2.1/32","weight":3,"users":-1}]}`, `{"penalties":[{"kind":"user","name":"` + strings.Repeat("x", 200) + `","weight":3}]}`,
		`{"penalties":[{"kind":"all","name":"x","weight":3}]}`, `{"logins":[{"address":"","user":"x"}]}`, `{"logins":[{"address":"fe80::1%eth0","user":"x"}]}`,
	} {
		if err := w.Learn(w.now, []byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	var many Word
	for i := range maxSnapshot + 1 {
		many.Penalties = append(many.Penalties, Claim{Kind: "user", Name: fmt.Sprint("u", i), Weight: 1e9})
	}
	b, _ := json.Marshal(many)
	if err := w.Learn(w.now, b); err == nil {
		t.Error("a word of any length is taken")
	}
	many.Penalties = many.Penalties[:maxSnapshot]
	b, _ = json.Marshal(many)
	if err := w.Learn(w.now, b); err != nil {
		t.Fatal(err)
	}
	for _, p := range w.List(w.now) {
		if p.Weight > maxWord {
			t.Errorf("%+v", p)
		}
	}
	if n := w.Sizes()["user"]; n[0] > n[1] {
		t.Errorf("%v users", n)
	}
}

// A secret cannot be printed, and no two of name and password are alike.
func TestDigest(t *testing.T) {
	g := New(Options{}, start)
	d := g.Digest("joe", []byte("secret"))
	if d == 0 || d != g.Digest("joe", []byte("secret")) {
		t.Error("the same is not recognised")
	}
	for _, other := range []Digest{g.Digest("joes", []byte("ecret")), g.Digest("joe", []byte("Secret")), g.Digest("", []byte("joesecret")), New(Options{}, start).Digest("joe", []byte("secret"))} {
		if other == d {
			t.Error("two are alike")
		}
	}
	if g.Digest("joe", nil) != 0 {
		t.Error("nothing has a digest")
	}
	if s := fmt.Sprintf("%v %s %#v", d, d, d); strings.ReplaceAll(s, "[redacted]", "") != "  " {
		t.Errorf("it prints as %q", s)
	}
}

func TestOffAndExempt(t *testing.T) {
	for name, o := range map[string]Options{"off": {Off: true}, "exempt": {Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}} {
		w := newWorld(t, o)
		for n := range 100 {
			if before, after, asked := w.try("192.0.2.1", "joe", fmt.Sprint(n), Failed); before+after != 0 || !asked {
				t.Fatalf("%s: waits %v and %v", name, before, after)
			}
		}
		if n := w.Sizes()["address"][0]; n != 0 {
			t.Errorf("%s: %d addresses are remembered", name, n)
		}
	}
}

func FuzzLearn(f *testing.F) {
	f.Add([]byte(`{"penalties":[{"kind":"address","name":"192.0.2.1/32","weight":3}],"logins":[{"address":"192.0.2.1","user":"joe"}]}`))
	f.Add([]byte(`{"penalties":[{"kind":"address","name":"192.0.2.1/32","weight":20,"users":1e9}]}`))
	f.Add([]byte(`{"penalties":[{"kind":"network","name":"2001:db8::/48","weight":1e38}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g := New(Options{Entries: 8}, start)
		_ = g.Learn(start, b)
		for name, s := range g.Sizes() {
			if s[0] > s[1] {
				t.Errorf("%s: %v", name, s)
			}
		}
		for _, p := range g.List(start) {
			if p.Weight > maxWord || p.Pause > sprayPause.Seconds() {
				t.Errorf("%+v", p)
			}
		}
	})
}

// BenchmarkGood is what a login costs that is nobody's concern: of a known pair, and
// of a stranger at a clean address.
func BenchmarkGood(b *testing.B) {
	password := []byte("correct horse battery staple")
	for name, outcome := range map[string]Outcome{"known": Succeeded, "stranger": Neither} {
		b.Run(name, func(b *testing.B) {
			g := New(Options{}, start)
			client, now := netip.MustParseAddr("192.0.2.1"), start
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				a := Attempt{Client: client, User: "joe@example.org", Digest: g.Digest("joe@example.org", password)}
				if !g.Begin(now, &a, time.Minute).Go {
					b.Fatal("it waits")
				}
				g.End(now, &a, outcome)
				g.Leave(&a, 0)
			}
		})
	}
}

// The good case allocates nothing.
func TestGoodAllocatesNothing(t *testing.T) {
	g := New(Options{}, start)
	client := netip.MustParseAddr("192.0.2.1")
	var a Attempt // as in a session
	if n := testing.AllocsPerRun(1000, func() {
		a = Attempt{Client: client, User: "joe@example.org", Digest: g.Digest("joe@example.org", []byte("correct horse battery staple"))}
		g.Begin(start, &a, time.Minute)
		g.End(start, &a, Succeeded)
		g.Leave(&a, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
