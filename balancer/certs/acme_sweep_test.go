package certs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/certs/pebble"
)

// TestSweep: what has expired long ago goes, of both kinds and of names that nobody
// wants any more; what may be of use still, and what is no certificate, stays.
func TestSweep(t *testing.T) {
	s := newMemory()
	r := newRig(t, s, 0, 0)
	day := 24 * time.Hour
	for name, over := range map[string]time.Duration{"old.example.com": 15 * day, "late.example.com": 13 * day, "young.example.com": -day} {
		c, _ := selfMade(t, time.Now().Add(-90*day), time.Now().Add(-over), name)
		for _, kind := range []KeyKind{ECDSA, RSA} {
			putStored(t, kind.storage(s), "ca", name, c)
		}
	}
	if err := s.Store(t.Context(), "imported/old/crt", []byte("not ours")); err != nil {
		t.Fatal(err)
	}
	// A clock by which nothing is good, or what is wanted is over, is not believed.
	shows := func(name string, over time.Duration, demanded bool) {
		c, _ := selfMade(t, time.Now().Add(-90*day), time.Now().Add(-over), name)
		w := &work{want: want{name, ECDSA}, demanded: demanded, due: time.Now().Add(day), looked: make(chan struct{})}
		w.pair.Store(newStock(&c, "ca", time.Time{}))
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		r.registrar.works[w.want] = w
	}
	doubted := func(what string) {
		t.Helper()
		before := len(s.keys(""))
		if err := r.registrar.sweep(t.Context()); !errors.Is(err, errDoubted) || len(s.keys("")) != before {
			t.Errorf("%s: %v, and %d of %d keys are left", what, err, len(s.keys("")), before)
		}
	}
	doubted("nothing is served")
	shows("asked.example.com", day, true)
	doubted("nothing is good")
	shows("mail.example.com", -day, false)
	shows("pop.example.com", day, false)
	doubted("one that is wanted is over")
	shows("pop.example.com", -day, false)
	for range 2 { // the second has nothing to do
		if err := r.registrar.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]int{"old.example.com": 0, "late.example.com": 6, "young.example.com": 6, "imported/": 1} {
			n := 0
			for _, key := range s.keys("") {
				if strings.Contains(key, text) {
					n++
				}
			}
			if n != want {
				t.Errorf("of %s there are %d keys, want %d: %q", text, n, want, s.keys(""))
			}
		}
	}
}

// Room implements Roomy.
func (m *memory) Room() int64 {
	if m.full {
		return orderRoom - 1
	}
	return orderRoom
}

// TestNoRoom: in a storage that is almost full no certificate is begun.
func TestNoRoom(t *testing.T) {
	s := newMemory()
	s.full = true
	r := newRig(t, s, -1, 0)
	ca := r.aCA(pebble.Options{})
	r.wants(acmeOf(issuerAt(ca, "ca", HTTP01)), []string{"new.example.com"}, nil)
	r.says("almost full")
	if keys := s.keys(".crt"); len(keys) > 0 {
		t.Errorf("there is %q", keys)
	}
}
