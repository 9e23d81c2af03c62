package guard

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// explained asks of a login, and holds the answer to what a login is told: the wait, the
// refusal and its reason. The asking changes nothing.
func (w *world) explained(addr, user string, patience time.Duration) Explanation {
	w.t.Helper()
	a := Attempt{Client: netip.MustParseAddr(addr), User: user}
	before, held := w.Sizes(), w.Held()
	x := w.Explain(w.now, a, patience)
	if again := w.Explain(w.now, a, patience); again != x {
		w.t.Errorf("asked again: %+v, then %+v", x, again)
	}
	if now := w.Sizes(); !reflect.DeepEqual(now, before) || w.Held() != held || a.ready {
		w.t.Errorf("the question is remembered: %v, then %v", before, now)
	}
	v := w.Begin(w.now, &a, patience)
	if v.Go != (x.Wait == 0) || v.Refuse != x.Refuse || v.Refuse && v.Reason != x.Reason || !v.Go && !v.Refuse && v.Wait != x.Wait {
		w.t.Errorf("%s from %s: explained as %+v, and a login is told %+v", user, addr, x, v)
	}
	w.End(w.now, &a, Neither)
	w.Leave(&a, 0)
	return x
}

// What Explain says is what Begin does, whichever memory says it.
func TestExplain(t *testing.T) {
	w := newWorld(t, Options{Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	if x := w.explained("192.0.2.1", "joe", time.Minute); x != (Explanation{}) {
		t.Errorf("a stranger: %+v", x)
	}
	w.try("192.0.2.1", "joe", "guess", Failed)
	w.try("192.0.2.1", "joe", "guess again", Failed)
	w.now = w.now.Add(-time.Second) // his client does not wait for the answer
	if x := w.explained("192.0.2.1", "joe", time.Minute); x.By != "pair" || x.Name != "joe from 192.0.2.1/32" || x.Wait != time.Second || x.Refuse {
		t.Errorf("who has failed himself: %+v", x)
	}
	w.try("192.0.2.2", "ann", "right", Succeeded)
	for i := range 20 {
		w.try("192.0.2.2", fmt.Sprint("user", i), "spray", Failed)
	}
	for asked := false; !asked; {
		_, _, asked = w.try("192.0.2.2", "one more", "spray", Failed)
	}
	if x := w.explained("192.0.2.2", "bob", time.Minute); x.By != "address" || x.Name != "192.0.2.2/32" || !x.Refuse || x.Reason != Paused || x.Weight < 10 {
		t.Errorf("behind an address that sprays: %+v", x)
	}
	if x := w.explained("192.0.2.2", "ann", time.Minute); !x.Known || x.By != "" {
		t.Errorf("who is known there: %+v", x)
	}
	if err := w.Learn(w.now, []byte(`{"penalties":[{"kind":"user","name":"eve","weight":7},{"kind":"network","name":"203.0.113.0/24","weight":24}]}`)); err != nil {
		t.Fatal(err)
	}
	if x := w.explained("203.0.113.9", "eve", time.Minute); x.By != "user" || x.Name != "eve" || x.Wait < 4*time.Second || x.Refuse {
		t.Errorf("whose name is guessed: %+v", x)
	}
	if x := w.explained("203.0.113.9", "eve", time.Second); x.Refuse || x.Wait != time.Second/2 {
		t.Errorf("whose name is guessed, and who does not wait so long: %+v", x)
	}
	if x := w.explained("192.0.2.2", "bob", time.Second); !x.Refuse || x.Reason != Paused {
		t.Errorf("who does not wait so long: %+v", x)
	}
	for i := range 60 { // each address once: none is slowed by itself
		a := w.attempt(fmt.Sprintf("203.0.113.%d", 100+i), fmt.Sprint("user", i), "spray")
		if v := w.Begin(w.now, a, time.Minute); v.Go {
			w.Leave(a, w.End(w.now, a, Failed))
		} else {
			w.Leave(a, 0)
		}
	}
	if x := w.explained("203.0.113.9", "joe", time.Minute); x.By != "network" || x.Name != "203.0.113.0/24" || x.Wait <= 0 {
		t.Errorf("in a network that sprays: %+v", x)
	}
	for addr, want := range map[string]string{"198.51.100.7": "exempt"} {
		if x := w.explained(addr, "joe", time.Minute); x.Exempt != want || x.Wait != 0 {
			t.Errorf("%s: %+v", addr, x)
		}
	}
	if x := w.Explain(w.now, Attempt{Client: netip.MustParseAddr("192.0.2.2"), User: "bob", Trusted: true}, time.Minute); x.Exempt != "trusted" {
		t.Errorf("a trusted network: %+v", x)
	}
	w.Configure(Options{Off: true})
	if x := w.explained("192.0.2.2", "bob", time.Minute); x.Exempt != "off" {
		t.Errorf("switched off: %+v", x)
	}
}
