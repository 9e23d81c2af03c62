package certs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"usher.example/balancer/certs/pebble"
)

// Names that strangers make up are in no list, and where no order is left for them,
// not in memory either; what the fleet has is served all the same.
func TestMadeUpNames(t *testing.T) {
	t.Parallel()
	s := newMemory()
	i := Issuer{Name: "ca", Directory: "https://" + local(pebble.FreePort(t)) + "/dir", Challenges: []Challenge{HTTP01}} // nobody is there
	putStored(t, s, i.key(), "real.example.org", young(t, "real.example.org"))
	r := newRig(t, s, 0, 0)
	patterns := []string{"*.example.org"}
	r.wants(acmeOf(i), nil, patterns)
	shelf := r.shelf(nil, patterns)
	until(t, "what the fleet has to be read", r.registrar.allRead)
	works := func() int {
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		return len(r.registrar.works)
	}
	for n := range 2 {
		_, _, _ = handshake(t, shelf, fmt.Sprintf("failed%d.example.org", n))
	}
	if got := shelf.list(); len(got) != 1 || got[0].Names[0] != "real.example.org" {
		t.Errorf("%d certificates are listed, %v, and some that strangers wish for", len(got), got)
	}
	until(t, "what failed to be forgotten", func() bool { return works() == 1 })

	for r.registrar.budget.order(time.Now()) {
	}
	for n := range 20 {
		if _, _, err := handshake(t, shelf, fmt.Sprintf("x%d.example.org", n)); !errors.Is(err, errBudget) {
			t.Errorf("got %v, want it to be told that no order is left", err)
		}
	}
	if got := works(); got != 1 {
		t.Errorf("%d names are remembered for which no order was made", got-1)
	}
	if c, _, err := handshake(t, shelf, "real.example.org"); err != nil || c == nil {
		t.Errorf("one that the fleet has: %v", err)
	}
	if got := shelf.list(); len(got) != 1 || !got[0].OnDemand || got[0].Names[0] != "real.example.org" {
		t.Errorf("listed are %v, want the one that there is", got)
	}
}
