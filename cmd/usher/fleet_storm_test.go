package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/forward"
	"usher.example/cluster"
	"usher.example/cluster/place"
	"usher.example/sniff"
	"usher.example/sniff/imap"
)

const (
	// stormWorkers guess at the same time, three names a connection.
	stormWorkers = 64
	stormTries   = 3
	// stormNames are those of a round: with fewer, growth cannot be told from what a
	// process does anyway.
	stormNames = 10_000
	// stormKept is what a name may leave in the heap after a collection: a record of
	// one has 100 octets and more.
	stormKept = 64
)

// A stormNode is a balancer of this process with its part in a fleet.
type stormNode struct {
	server *balancer.Server
	fleet  *cluster.Fleet
}

// refuser is a back end that lets nobody in, at once.
func refuser(c *balancertest.Conn) {
	const caps = "IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN"
	c.Say("* OK [CAPABILITY " + caps + "] ready")
	for {
		line, ok := c.Line()
		if !ok {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		switch verb, _, _ := strings.Cut(rest, " "); strings.ToUpper(verb) {
		case "CAPABILITY":
			c.Say("* CAPABILITY "+caps, tag+" OK done")
		case "AUTHENTICATE", "LOGIN":
			c.Say(tag + " NO [AUTHENTICATIONFAILED] no")
		case "LOGOUT":
			c.Say("* BYE", tag+" OK bye")
			return
		default:
			c.Say(tag + " OK done")
		}
	}
}

// newStormNodes opens a fleet of three with a balancer each, in front of back ends.
func newStormNodes(tb testing.TB, backends ...*balancertest.Backend) []stormNode {
	tb.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	names := []string{"edge-1", "edge-2", "edge-3"}
	secret := cluster.NewSecret()
	pool := cluster.Pool{Name: "main", Storage: place.Shared}
	served := balancer.PoolOptions{Name: "main", Protocols: []sniff.Protocol{imap.Protocol{}}}
	for i, b := range backends {
		name := fmt.Sprintf("store%d", i+1)
		pool.Backends = append(pool.Backends, cluster.Backend{Name: name, Address: fmt.Sprintf("%s:%d", b.Host(), b.Port()), Weight: 100})
		served.Backends = append(served.Backends, balancer.BackendOptions{Name: name, Host: b.Host(), Ports: map[string]int{"imap": b.Port()}})
	}
	binds, join := make([]string, len(names)), make([]string, len(names))
	for i := range names {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", 11+i))
		if err != nil {
			tb.Fatal(err)
		}
		binds[i], join[i] = l.Addr().String(), l.Addr().String()
		_ = l.Close()
	}
	nodes := make([]stormNode, len(names))
	for i, name := range names {
		n := &nodes[i]
		var err error
		if n.fleet, err = cluster.OpenFleet(cluster.FleetOptions{
			Fleet: "storm", Node: name, Secrets: []cluster.Secret{secret}, Bind: binds[i], Join: join, Voters: names,
			State: filepath.Join(tb.TempDir(), name), Log: log,
		}); err != nil {
			tb.Fatal(err)
		}
		engine := new(forward.Copy)
		ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
		var running sync.WaitGroup
		running.Go(func() { engine.Run(ctx) })
		running.Go(func() { n.fleet.Run(ctx) })
		if err := n.fleet.Update([]cluster.Pool{pool}); err != nil {
			tb.Fatal(err)
		}
		n.server = balancer.New(balancer.Deps{Log: log, Engine: engine, Placer: n.fleet})
		tb.Cleanup(func() {
			over, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
			cancel()
			n.server.Drain(over)
			stop()
			running.Wait()
			n.fleet.Close()
		})
		if err := n.server.Apply(balancer.Options{
			Hostname: "mail.example.org", Limits: balancer.Limits{DialWait: -1},
			Pools: []balancer.PoolOptions{served},
			Listeners: []balancer.ListenerOptions{{
				Name: "imap", Address: "127.0.0.1:0", Protocol: imap.Protocol{}, Pool: "main", PlaintextLogin: true,
			}},
		}); err != nil {
			tb.Fatal(err)
		}
	}
	for _, n := range nodes {
		ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
		err := n.fleet.Await(ctx)
		cancel()
		if err != nil {
			tb.Fatal(err)
		}
	}
	return nodes
}

// guess tries names that nobody has over one connection, and returns how many were
// refused.
func (n stormNode) guess(next func() (int64, bool)) (refused int64, err error) {
	c, err := net.Dial("tcp", n.server.Addr("imap").String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	if _, err := r.ReadSlice('\n'); err != nil {
		return 0, fmt.Errorf("greeting: %w", err)
	}
	for range stormTries {
		number, more := next()
		if !more {
			return refused, nil
		}
		if _, err := fmt.Fprintf(c, "a LOGIN nobody%d@example.org guess\r\n", number); err != nil {
			return refused, err
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return refused, fmt.Errorf("login: %w", err)
			}
			if strings.HasPrefix(line, "a NO [AUTHENTICATIONFAILED]") {
				refused++
				break
			}
			if !strings.HasPrefix(line, "* ") {
				return refused, fmt.Errorf("got %q", line)
			}
		}
	}
	return refused, nil
}

// heapInUse is what is reachable.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what pools keep outlives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStorm has names that nobody has guessed at three nodes: clients,
// balancers, fleet and back ends are of this process, and all is real but the back
// ends, which say no at once. It reports the logins a second, and fails if a name
// leaves anything.
func BenchmarkStorm(b *testing.B) {
	backends := make([]*balancertest.Backend, 6)
	for i := range backends {
		backends[i] = balancertest.NewBackendAt(b, fmt.Sprintf("127.0.0.%d:0", 21+i), refuser)
	}
	nodes := newStormNodes(b, backends...)
	storm(b, nodes, stormNames) // pools and maps are as large as they will be
	var took time.Duration
	worked := processTime(b)
	names := int64(0)
	before, heap, began := nodes[0].fleet.Overview(), heapInUse(), time.Now()
	for b.Loop() {
		took += storm(b, nodes, stormNames)
		names += stormNames
	}
	worked = processTime(b) - worked
	kept, after := (heapInUse()-heap)/names, nodes[0].fleet.Overview()
	b.ReportMetric(float64(names)/took.Seconds(), "logins/s")
	b.ReportMetric(float64(worked.Microseconds())/float64(names), "cpu-us/login")
	b.ReportMetric(float64(kept), "B-kept/name")
	if grown, most := after.Applied-before.Applied, uint64(time.Since(began)/time.Second)+2; grown > most {
		b.Errorf("the log grew by %d entries, want at most %d: a grant each second", grown, most)
	}
	if after.Stays+after.Pins+after.Moves != 0 || len(after.Members) != len(nodes) {
		b.Errorf("the table has something of it: %+v", after)
	}
	if kept > stormKept {
		b.Errorf("each name leaves %d octets, want at most %d", kept, stormKept)
	}
	list, err := nodes[0].fleet.Nodes()
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range list {
		if n.Users+n.Holds != 0 {
			b.Errorf("node %s has %d users and %d holds of it", n.Node, n.Users, n.Holds)
		}
	}
}

// processTime is what this process has had of the processors.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// names that were guessed; none comes twice.
var guessed atomic.Int64

// storm guesses so many names, and returns how long it took.
func storm(b *testing.B, nodes []stormNode, logins int64) time.Duration {
	b.Helper()
	last := guessed.Load() + logins
	next := func() (int64, bool) {
		n := guessed.Add(1)
		return n, n <= last
	}
	began := time.Now()
	var running sync.WaitGroup
	var refused atomic.Int64
	for w := range stormWorkers {
		running.Go(func() {
			for guessed.Load() < last {
				n, err := nodes[w%len(nodes)].guess(next)
				refused.Add(n)
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	took := time.Since(began)
	guessed.Store(last)
	if refused.Load() != logins {
		b.Errorf("%d logins were refused, want %d", refused.Load(), logins)
	}
	return took
}
