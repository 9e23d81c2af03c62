package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"
)

// nowhere is a CA that is not there.
func nowhere() Issuer {
	return Issuer{Name: "nowhere", Directory: "https://127.0.0.1:1/dir", Challenges: []Challenge{HTTP01}}
}

// After a restart clients find what the storage has, however many names that are, and
// whatever strangers ask for: it is read before anybody asks, but what has expired.
func TestRecall(t *testing.T) {
	t.Parallel()
	s, i, ca, key := newMemory(), nowhere(), newIssuer(t), newKey(t)
	names := namesUnder("c.example.org", readsPerMinute+50)
	keep := func(name string, w wanted) {
		w.names, w.key = []string{name}, key
		leaf, _ := ca.issue(w)
		putStored(t, s, i.key(), name, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf})
	}
	for _, name := range names {
		keep(name, wanted{})
	}
	now := time.Now()
	keep("old.c.example.org", wanted{from: now.Add(-100 * day), to: now.Add(-10 * day)})
	keep("due.c.example.org", wanted{from: now.Add(-80 * day), to: now.Add(10 * day)})
	keep("other.example.org", wanted{})
	r := newRig(t, s, 0, 0)
	r.wants(acmeOf(i), nil, []string{"*.c.example.org"})
	until(t, "all to be read", r.registrar.allRead)
	until(t, "what has expired to be forgotten, which is after it was read", func() bool {
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		return r.registrar.works[want{"old.c.example.org", ECDSA}] == nil
	})
	reads := s.loaded()
	for _, name := range append(names, "due.c.example.org") {
		if _, err := r.registrar.demand(t.Context(), name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if n := s.loaded() - reads; n != 0 {
		t.Errorf("%d reads for clients", n)
	}
	r.registrar.mu.Lock()
	n := len(r.registrar.works)
	r.registrar.mu.Unlock()
	if want := len(names) + 1; n != want {
		t.Errorf("%d names are there, want %d: neither those of no pattern nor those that have expired", n, want)
	}
	if r.log.count("certificate not obtained") > 0 {
		t.Error("something was ordered though nobody asked")
	}
}

// A name that the storage has costs a stranger's budget nothing, though it came to be
// there after the start.
func TestFoundIsFree(t *testing.T) {
	t.Parallel()
	s, i := newMemory(), nowhere()
	r := newRig(t, s, 0, 0)
	r.wants(acmeOf(i), nil, []string{"*.c.example.org"})
	until(t, "all to be read", r.registrar.allRead)
	putStored(t, s, i.key(), "late.c.example.org", young(t, "late.c.example.org"))
	for range readsPerMinute - 1 {
		r.registrar.budget.read(time.Now())
	}
	if _, err := r.registrar.demand(t.Context(), "late.c.example.org"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.registrar.demand(t.Context(), "x.c.example.org"); errors.Is(err, errBusy) {
		t.Error("the read that found something was counted")
	}
	if _, err := r.registrar.demand(t.Context(), "y.c.example.org"); !errors.Is(err, errBusy) {
		t.Errorf("the one that found nothing was not: %v", err)
	}
}

// Names that came to nothing take no place, are not tried again, and are as soon as
// another node has obtained one.
func TestMisses(t *testing.T) {
	t.Parallel()
	s, i := newMemory(), nowhere()
	r := newRig(t, s, 0, 0)
	r.wants(acmeOf(i), nil, []string{"*.c.example.org"})
	until(t, "all to be read", r.registrar.allRead)
	for range 2 {
		if _, err := r.registrar.demand(t.Context(), "x.c.example.org"); !errors.Is(err, errFailed) {
			t.Fatalf("got %v, want %v", err, errFailed)
		}
	}
	until(t, "the work to end", func() bool {
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		return len(r.registrar.works)+len(r.registrar.watched) == 0
	})
	reads := s.loaded()
	if _, err := r.registrar.demand(t.Context(), "x.c.example.org"); !errors.Is(err, errFailed) || s.loaded() != reads {
		t.Errorf("got %v, and %d reads", err, s.loaded()-reads)
	}
	putStored(t, s, i.key(), "x.c.example.org", young(t, "x.c.example.org"))
	if _, err := r.registrar.demand(t.Context(), "x.c.example.org"); err != nil {
		t.Errorf("after another node has obtained it: %v", err)
	}
}

// However many names come to nothing, so many are remembered, the newest ones.
func TestMissesBound(t *testing.T) {
	var m misses
	now := time.Now()
	for k := range 3 * maxMisses {
		m.add(want{fmt.Sprint(k), ECDSA}, now.Add(time.Hour))
	}
	if len(m.until) != maxMisses || len(m.queue) != maxMisses {
		t.Errorf("%d are remembered, want %d", len(m.until), maxMisses)
	}
	if last := (want{fmt.Sprint(3*maxMisses - 1), ECDSA}); !m.has(last, now) || m.has(last, now.Add(time.Hour)) {
		t.Error("the newest is not remembered for an hour")
	}
}
