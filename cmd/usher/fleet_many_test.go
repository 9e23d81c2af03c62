package main_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	manyNodes    = 10
	manySessions = 50
	// manyMove is how long a move may take besides the kick delay.
	manyMove = 100 * time.Millisecond
)

// TestFleetManySessions moves a user with fifty sessions on ten nodes, each a
// process, there and back: he is never on two servers, and what the move takes
// besides the kick delay is held to a tenth of a second, in the median, where
// the processors are not taken by others: on a busy machine that is told and not
// judged.
func TestFleetManySessions(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, has eleven nodes: USHER_LONG=1")
	}
	load := busy(t) // before eleven processes of ours
	r := newRig(t, rigOptions{})
	for i := len(r.nodes); i < manyNodes; i++ {
		r.add(fmt.Sprintf("edge-%d", i+1))
	}
	r.start()
	admin := r.administrator("")
	const user, rounds = "rover", 9
	var over, closed []time.Duration
	logins := 0
	for range rounds {
		cs := make([]*client, manySessions)
		var wg sync.WaitGroup
		for i := range cs {
			wg.Go(func() {
				c := r.nodes[i%manyNodes].enter("imaps", entry{})
				if got := c.login(user, "secret"); !good(got) {
					t.Errorf("by %s: %q %v", r.nodes[i%manyNodes].name, got, c.err)
				}
				cs[i] = c
			})
		}
		wg.Wait()
		logins += len(cs)
		from := r.last(user, logins)
		to := map[string]string{"mail1": "mail2", "mail2": "mail1"}[from]
		var mu sync.Mutex
		var last time.Duration
		began := time.Now()
		for _, c := range cs {
			wg.Go(func() {
				if !c.ended() {
					t.Errorf("a session goes on: %v", c.err)
				}
				mu.Lock()
				defer mu.Unlock()
				last = max(last, time.Since(began))
			})
		}
		if err := admin.Move(deadlineCtx(t), "main", user, to, "test"); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		wg.Wait()
		over, closed = append(over, took-kickDelay), append(closed, last)
		for _, e := range r.nodes {
			if ok, verdict := e.tries(user); !ok {
				t.Errorf("by %s after the move: %s", e.name, verdict)
			}
			logins++
		}
		if at := r.last(user, logins); at != to {
			t.Errorf("he is at %s, want %s", at, to)
		}
		for _, c := range cs {
			c.Close()
		}
	}
	slices.Sort(over)
	slices.Sort(closed)
	t.Logf("%d moves of a user with %d sessions on %d nodes: besides the kick delay of %v they took %v in the median, %v at least, %v at most; the last session was closed after %v in the median",
		rounds, manySessions, manyNodes, kickDelay, over[rounds/2].Round(time.Millisecond), over[0].Round(time.Millisecond), over[rounds-1].Round(time.Millisecond), closed[rounds/2].Round(time.Millisecond))
	switch {
	case over[rounds/2] <= manyMove:
	case load > float64(runtime.NumCPU()):
		t.Logf("NOT JUDGED: the median move took %v besides the kick delay, and others had %.1f processes waiting for %d processors", over[rounds/2], load, runtime.NumCPU())
	default:
		t.Errorf("the median move took %v besides the kick delay, want %v", over[rounds/2], manyMove)
	}
	r.checkPresence(logins)
}

// busy is how many processes wanted a processor in the last minute (proc(5)).
func busy(t testing.TB) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		t.Fatal(err)
	}
	return load
}
