package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/table"
)

// TestFleetLogFull is about file systems that do not keep what was taken ahead, as
// those that copy on write: on a full disk the log itself cannot be written. The
// node follows no more, so it is isolated when its lease ends; its users are served,
// and the others go on without it, also if it led. When there is room it is one of
// the fleet again.
func TestFleetLogFull(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, takes a minute: USHER_LONG=1")
	}
	t.Parallel()
	onSmallDisks(t, true, (*rig).logFull)
}

func (r *rig) logFull(t *testing.T, f *cluster.Fleet, victim *edge) {
	live := r.session(victim, "live")
	victim.freeze() // it writes a second's grant at any moment
	victim.thin()
	room := victim.fill()
	victim.p.signal(syscall.SIGCONT)
	began := time.Now()
	isolated := func() bool {
		var o cluster.Overview
		victim.asks(admin.FleetPath, nil, &o)
		return o.Isolated
	}
	for i := 0; !isolated(); i++ { // until the page that is left is full
		if time.Since(began) > 2*patience {
			t.Fatal("the node does not notice")
		}
		_ = f.Move(deadlineCtx(t), "main", fmt.Sprintf("filler%d", i), "mail1", "test") // it may fail while there is no leader
		if ok, verdict := victim.tries("live"); !ok {
			t.Errorf("by the node with the full disk: %s", verdict)
		}
	}
	t.Logf("the node is isolated after %v", since(began))
	took := change(t, f, table.Draining, patience)
	t.Logf("a view changes in %v", took)
	for _, e := range r.nodes {
		if ok, verdict := e.tries("other"); !ok {
			t.Errorf("%s: %s", e.name, verdict)
		}
	}
	if !live.works() {
		t.Errorf("the session by the node with the full disk: %v", live.err)
	}
	victim.p.log.await(t, "the fleet's log cannot be written.*no space left on device", 1)
	leader := r.leads(f)
	if leader == victim {
		t.Fatalf("%s still leads", leader.name)
	}
	r.endsWithoutQuorum(f, victim, leader)
	room()
	began = time.Now()
	eventually(t, "it is one of the fleet again", func() bool { return !isolated() })
	t.Logf("with room it is one of the fleet again after %v", since(began))
	took = change(t, f, table.Active, patience)
	t.Logf("a view changes in %v", took)
	if took > 3*time.Second {
		t.Errorf("a change of the view took %v: somebody is waited for who is there", took)
	}
}

// endsWithoutQuorum stops the third node. The one that leads is still heard by the
// one with the full disk, and can commit nothing: it has to end all the same.
func (r *rig) endsWithoutQuorum(f *cluster.Fleet, victim, leader *edge) {
	var third *edge
	for _, e := range r.nodes {
		if e != victim && e != leader {
			third = e
		}
	}
	third.stop()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Second)
	defer cancel()
	if err := f.Move(ctx, "main", "nobody", "mail1", "test"); err == nil {
		r.t.Error("an order was committed by one voter of three")
	}
	began := time.Now()
	leader.stop()
	r.t.Logf("a leader who cannot commit ended after %v", since(began))
	for _, e := range []*edge{third, leader} {
		e.begin()
	}
	for _, e := range []*edge{third, leader} {
		e.ready()
	}
}

// thin gives back what the log's file has taken ahead.
func (e *edge) thin() {
	e.t.Helper()
	files, err := filepath.Glob(filepath.Join(e.state(), "log", "*.wal"))
	if err != nil || len(files) == 0 {
		e.t.Fatalf("no log: %v, %v", files, err)
	}
	name := files[len(files)-1]
	text, err := os.ReadFile(name)
	if err != nil {
		e.t.Fatal(err)
	}
	page := os.Getpagesize()
	end := (len(bytes.TrimRight(text, "\x00")) + page - 1) / page * page
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	const keepSize, punchHole = 1, 2 // fallocate(2)
	if err := syscall.Fallocate(int(f.Fd()), keepSize|punchHole, int64(end), int64(len(text)-end)); err != nil {
		e.t.Fatalf("fallocate: %v", err)
	}
}
