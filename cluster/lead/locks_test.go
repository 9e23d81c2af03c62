package lead_test

import (
	"testing"

	"usher.example/cluster/lead"
	"usher.example/cluster/table"
)

// A lock that is not renewed for a whole lease is broken, by the leader's clock and
// since its election; one that is renewed is not, however long it is held.
func TestLocks(t *testing.T) {
	f := newFleet(t)
	take := func(name, node string, nonce uint64) {
		f.apply(table.Take{Name: name, Node: node, Life: 1, Nonce: nonce})
	}
	locked := func(name string) bool { _, ok := f.tab.Locks[name]; return ok }
	take("dead", "a", 1)
	take("alive", "b", 2)
	for range 3 {
		f.run(lead.RenewEvery, "a", "b")
		f.apply(table.Renew{Node: "b", Life: 1, Nonces: []uint64{2}})
	}
	if !locked("dead") {
		t.Fatal("a lock is broken before its lease was over")
	}
	f.run(lead.RenewEvery+second/2, "a", "b")
	if locked("dead") || !locked("alive") {
		t.Fatalf("after a lease the locks are %v, want the one that was renewed", f.tab.Locks)
	}

	// Who takes it next has a lease of his own, with another nonce.
	take("dead", "b", 3)
	f.run(lead.LockLease-second, "a", "b")
	if !locked("dead") {
		t.Fatal("the next holder has what was left of the one before")
	}

	// A new leader knows nothing of what was before it.
	take("old", "a", 4)
	f.run(lead.LockLease-second, "a", "b")
	f.l = lead.New(lead.Options{KickDelay: 2 * second}, f.tab, 1, f.now)
	f.run(lead.LockLease-second/2, "a", "b")
	if !locked("old") {
		t.Fatal("a new leader has not waited for a lease of its own")
	}
	f.run(second, "a", "b")
	if locked("old") {
		t.Fatal("and it does not break it after that")
	}
}

// A lock ends with its holder's life, which may be sooner.
func TestLockOfALifeThatIsOver(t *testing.T) {
	f := newFleet(t)
	f.run(second, "a", "b")
	f.apply(table.Take{Name: "l", Node: "a", Life: 1, Nonce: 1})
	for range 200 {
		f.run(second/4, "b")
		if !f.tab.Members["a"].Counted {
			break
		}
		f.apply(table.Renew{Node: "a", Life: 1, Nonces: []uint64{1}}) // so that it is not the lease
	}
	if f.tab.Members["a"].Counted || len(f.tab.Locks) > 0 {
		t.Errorf("%+v is over, its locks are %v", f.tab.Members["a"], f.tab.Locks)
	}
}
