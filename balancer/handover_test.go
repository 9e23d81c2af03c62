package balancer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
)

// Live sessions move to another node that shares the placer, and back, amid their
// dialogue; the second node then knows them as the first did, and places are held
// all the time.
func TestSessionsChangeHands(t *testing.T) {
	if engineName == "copy" {
		r := newRig(t, []*balancertest.Backend{balancertest.NewBackend(t, balancertest.IMAP("store0"))}, nil)
		if _, err := r.server.Export(nil); !errors.Is(err, balancer.ErrNoMover) {
			t.Errorf("got %v", err)
		}
		return
	}
	b := balancertest.NewBackend(t, balancertest.IMAP("store0"))
	first := newRig(t, []*balancertest.Backend{b}, nil)
	second := newRig(t, []*balancertest.Backend{b}, func(r *rig, _ *balancer.Options) { r.placer = first.placer })
	var peers []*peer
	for i := range 6 {
		p := first.dial([]string{"imap", "imaps"}[i%2])
		if i%2 == 1 {
			if err := p.secure(first.ca, nil); err != nil {
				t.Fatal(err)
			}
		}
		p.expect("* OK")
		p.say(fmt.Sprintf("a LOGIN joe%d secret\r\n", i))
		p.expect("a OK")
		peers = append(peers, p)
	}
	until(t, "all to be established", func() bool {
		n := 0
		for _, i := range first.server.Sessions("") {
			if i.Path != "" { // the engine has answered
				n++
			}
		}
		return n == len(peers)
	})
	from, to := first, second
	for round := range 3 {
		for i, p := range peers {
			p.say(fmt.Sprintf("x%d NOOP\r\n", i)) // answered before, amid or after the move
		}
		before := from.server.Sessions("")
		n, err := from.server.Export(func(h *balancer.Handover) (func(string), error) {
			end, err := to.server.Resume(t.Context(), h)
			if held := first.placer.held(); held != len(peers)+1 {
				t.Errorf("%d places are held amid a move, want %d", held, len(peers)+1)
			}
			return end, err
		})
		if n != len(peers) || err != nil {
			t.Fatalf("round %d: %d sessions moved, %v", round, n, err)
		}
		for i, p := range peers {
			p.expect(fmt.Sprintf("x%d OK", i))
		}
		after := to.server.Sessions("")
		for i := range after {
			a, b := after[i], before[i]
			a.Idle, a.BytesIn, a.BytesOut, b.Idle, b.BytesIn, b.BytesOut = 0, 0, 0, 0, 0, 0
			if a != b {
				t.Errorf("the session is now\n%+v, was\n%+v", a, b)
			}
		}
		if all, _ := from.server.Counts(); all != 0 || from.server.Stats()["imap"].Open.Load() != 0 {
			t.Errorf("%d sessions are left where they were", all)
		}
		from, to = to, from
	}
	// A move that is refused leaves the session where it is.
	first.placer.set("b7", nil)
	_, err := from.server.Export(func(h *balancer.Handover) (func(string), error) { return to.server.Resume(t.Context(), h) })
	if !errors.Is(err, balancer.ErrElsewhere) {
		t.Errorf("a user with another place: %v", err)
	}
	first.placer.set("b0", nil)
	peers[0].say("y NOOP\r\n")
	peers[0].expect("y OK")
	// Who is kicked amid his move is kicked there.
	_, err = from.server.Export(func(h *balancer.Handover) (func(string), error) {
		if h.User == "joe1" {
			from.server.KickUser("joe1", "amid the move")
		}
		return to.server.Resume(t.Context(), h)
	})
	if err != nil {
		t.Fatal(err)
	}
	peers[1].closed()
	until(t, "the kicked session to be logged", func() bool { return strings.Contains(to.log.String(), "amid the move") })
	if all, _ := to.server.Counts(); all != len(peers)-1 {
		t.Errorf("%d sessions, want %d", all, len(peers)-1)
	}
	until(t, "the places to be let go", func() bool { return first.placer.held() == len(peers)-1 })
	for _, p := range peers {
		_ = p.Close()
	}
	until(t, "all to be gone", func() bool { return first.placer.held() == 0 })
}
