package certstore_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/certstore"
)

// patience bounds what a test waits for; nothing waits that long when it works.
const patience = 30 * time.Second

// A node is a node of a fleet in this process, on real ports and a real disk.
type node struct {
	*certstore.Store
	fleet *cluster.Fleet
	o     cluster.FleetOptions
	// end ends it in order, and kill as the death of its process would.
	end, kill func()
}

// open opens and runs a node until the end of the test.
func open(t testing.TB, o cluster.FleetOptions) *node {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	if os.Getenv("USHER_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", o.Node)
	}
	f, err := cluster.OpenFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	if err := f.Update([]cluster.Pool{}); err != nil {
		t.Fatal(err)
	}
	ended := false
	once := func(last func()) func() {
		return func() {
			if !ended {
				ended = true
				last()
				stop()
				<-done
			}
		}
	}
	n := &node{
		Store: certstore.New(f), fleet: f, o: o,
		end: once(func() { stop(); <-done; f.Close() }), kill: once(f.Abandon),
	}
	t.Cleanup(n.end)
	return n
}

func (n *node) await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.fleet.Await(ctx); err != nil {
		t.Fatal(err)
	}
}

// address is that of the node's fleet port.
func (n *node) address(t testing.TB) string {
	t.Helper()
	for _, m := range n.fleet.Overview().Members {
		if m.Node == n.o.Node {
			return m.Address
		}
	}
	t.Fatalf("%s does not know its address", n.o.Node)
	return ""
}

// trio is a fleet of three that serves.
func trio(t testing.TB) []*node {
	t.Helper()
	secret := cluster.NewSecret()
	names := []string{"edge-1", "edge-2", "edge-3"}
	var nodes []*node
	var join []string
	for _, name := range names {
		n := open(t, cluster.FleetOptions{
			Fleet: "test", Node: name, Secrets: []cluster.Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: names,
			State: filepath.Join(t.TempDir(), name), KickDelay: 200 * time.Millisecond,
		})
		join = append(join, n.address(t))
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.await(t)
	}
	return nodes
}

// single is a fleet of one.
func single(t testing.TB) *node {
	t.Helper()
	n := open(t, cluster.FleetOptions{State: t.TempDir(), KickDelay: -1})
	n.await(t)
	return n
}

// leader finds who leads, and who does not.
func leader(t testing.TB, nodes []*node) (leads *node, others []*node) {
	t.Helper()
	until(t, "a leader", func() bool {
		leads, others = nil, nil
		who := nodes[0].fleet.Overview().Leader
		for _, n := range nodes {
			if n.o.Node == who {
				leads = n
			} else {
				others = append(others, n)
			}
		}
		return leads != nil
	})
	return leads, others
}

// until asks again and again whether something has come about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
