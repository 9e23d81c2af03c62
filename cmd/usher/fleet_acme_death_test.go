package main_test

import (
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/certs/pebble"
	"usher.example/cluster"
)

// orderAgain is how long after the death of the node that ordered a certificate another
// node has it.
const orderAgain = 20 * time.Second

// TestFleetOrderDeath kills the node that has an order under way, and with it the lock:
// another node makes it anew, and it is the only other one.
func TestFleetOrderDeath(t *testing.T) {
	t.Parallel()
	t.Run("follower", func(t *testing.T) { t.Parallel(); orderDeath(t, false) })
	t.Run("leader", func(t *testing.T) { t.Parallel(); orderDeath(t, true) })
}

func orderDeath(t *testing.T, leads bool) {
	const name, port = "orphan.example.org", 5002
	f := &acmeFleet{rig: newRig(t, rigOptions{servers: 1}), ca: pebble.New(t, pebble.Options{HTTPPort: port}), port: port, how: "http-01"}
	f.roots = f.ca.Roots()
	for _, e := range f.nodes {
		f.wants(e)
	}
	f.start()
	var o cluster.Overview
	eventually(t, "somebody leads", func() bool {
		f.nodes[0].asks(admin.FleetPath, nil, &o)
		return o.Leader != ""
	})
	var victim *edge
	for _, e := range f.nodes {
		if (e.name == o.Leader) == leads {
			victim = e
		}
	}
	var others []*edge
	for _, e := range f.nodes {
		if e != victim {
			others = append(others, e)
		}
	}

	p := newTrap(t, port)
	f.ca.Resolve(name, p.at())
	f.reload(victim, name)
	conn := p.await(t)
	f.ca.Resolve(name, others[0].at(), others[1].at()) // from the next look on
	f.ca.Freeze()                                      // or it would give the order up on a slow machine
	for _, e := range others {
		f.reload(e, name)
		e.p.log.await(t, `says="acquiring lock" identifier=`+name, 1)
	}
	f.ordered("before the death", 1, 0)
	victim.kill()
	died := time.Now()
	f.ca.Thaw()
	conn.Close()

	eventually(t, "another node orders", func() bool { return f.newOrders() > 1 })
	began := since(died)
	first := f.serve(others, name)[name]
	took := since(died)
	t.Logf("%s, which led: %v, was killed in mid-order: another order after %v, served by both others after %v", victim.name, leads, began, took)
	if took > orderAgain {
		t.Errorf("it took %v, want %v", took, orderAgain)
	}
	f.ordered("after the death", 2, 1)
	made := 0
	for _, e := range others {
		made += len(e.p.log.lines(`msg="certificate obtained" name=` + name))
	}
	if made != 1 {
		t.Errorf("%d nodes say that they have obtained it, want 1", made)
	}

	victim.begin()
	victim.ready()
	if again := f.serve([]*edge{victim}, name)[name]; !again.Equal(first) {
		t.Errorf("%s comes back with another one", victim.name)
	}
	f.ordered("after it came back", 2, 1)
	f.stop()
}
