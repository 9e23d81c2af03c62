package certs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Names that another node is at do not keep this one from others.
func TestSlotsWhileLocked(t *testing.T) {
	t.Parallel()
	ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
	m := newMemory()
	names := []string{oneName}
	for i := range 10 * ordersAtOnce {
		w := want{fmt.Sprintf("n%d.example.org", i), ECDSA}
		names = append(names, w.name)
		if err := m.Lock(t.Context(), w.lock()); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, m, 0, 0)
	r.wants(acmeOf(ca.Issuer), names, nil)
	r.has(oneName)
	for _, n := range names[1:] {
		if err := m.Unlock(t.Context(), want{n, ECDSA}.lock()); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range names {
		r.has(n)
	}
	if n := r.log.count("level=WARN"); n != 0 {
		t.Errorf("%d warnings", n)
	}
}

// Who waits for its turn has not been failed by a CA, however long it takes.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := Issuer{Name: "ca", Directory: "https://ca.invalid/dir", Challenges: []Challenge{HTTP01}}
		r := idle(t, newMemory(), acmeOf(i), []string{oneName}, nil)
		for range ordersAtOnce {
			r.orders <- struct{}{}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.run(ctx) }()
		<-time.After(2 * workTime)
		r.mu.Lock()
		w := r.works[wantOne]
		if !w.busy || w.err != nil || w.tries != 0 {
			t.Errorf("busy %v, err %v, tries %d: want it to wait for its turn", w.busy, w.err, w.tries)
		}
		r.mu.Unlock()
		stop()
		<-done
	})
}

// Values that this node cannot open are not taken away because others could not be
// stored.
func TestRollback(t *testing.T) {
	ca := "ca.example.net-dir"
	for _, end := range []string{wholeEnd, keyEnd, chainEnd, metaEnd} {
		m := newMemory()
		served := aged(t, oneName)
		putStored(t, m, ca, oneName, served)
		m.failing(func(op, key string) error {
			if op == "load" || strings.HasSuffix(key, end) {
				return errors.New("sealed by another")
			}
			return nil
		})
		s := &atOnce{m, m, ECDSA, new(wholes)}
		fresh := young(t, oneName)
		chain, key, meta := parts(t, fresh)
		base := wholeBase(ca, oneName)
		for _, part := range []struct {
			end   string
			value []byte
		}{{keyEnd, key}, {chainEnd, chain}, {metaEnd, meta}} {
			err := s.Store(t.Context(), base+part.end, part.value)
			if failed := err != nil; failed != (part.end == metaEnd) || failed && !stored(err) {
				t.Errorf("no room for %s: storing %s: %v", end, part.end, err)
			}
		}
		for _, key := range []string{base + chainEnd, base + keyEnd} { // what certmagic does then
			if err := s.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
		}
		m.failing(nil)
		want := fresh.Leaf
		if end == wholeEnd || end == keyEnd { // nothing of it has changed yet
			want = served.Leaf
		}
		if p, err := stored1(t, m, ca); err != nil || !p.Leaf.Equal(want) {
			t.Errorf("no room for %s: there is %+v, %v", end, p, err)
		}
	}
}
