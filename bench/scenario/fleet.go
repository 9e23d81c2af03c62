package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/peers"
	"usher.example/bench/result"
)

const (
	// callers are the clients that log in again and again while a node dies.
	callers = 64
	// killAfter is which share of the time goes by before that.
	killAfter = 1.0 / 3
)

// fleet asks what it costs a node to have others beside it. Fleets of all sizes are
// started one after the other in each repetition, since they are compared.
func fleet(p Params) Course {
	c := Course{
		Name: "fleet", Repetitions: p.share(p.FleetShare), OwnStart: true, Only: "usher",
		Weight: time.Duration(len(p.Fleets)) * (5*time.Second + 3*p.FleetTime),
	}
	for _, n := range p.Fleets {
		name, doc := "fleet-"+strconv.Itoa(n), "IMAP logins over a node alone"
		if n > 1 {
			doc = fmt.Sprintf("IMAP logins over one node of a fleet of %d, over all, and while one is killed", n)
		}
		c.Parts = append(c.Parts, Part{
			Name: name, Doc: doc, Needs: []string{"imap tls"},
			Run: func(ctx context.Context, r *Round) error { return wholeFleet(ctx, r, n) },
		})
	}
	return c
}

func wholeFleet(ctx context.Context, r *Round, n int) (err error) {
	r.say(fmt.Sprintf("starting %d nodes", n))
	site := r.Site
	site.Workers = 1 // each is as large in all fleets, and five fit on a small machine
	nodes, err := startFleet(ctx, site, n)
	defer func() { err = errors.Join(err, r.endFleet(nodes)) }()
	if err != nil {
		return err
	}
	r.say("logging in over one node")
	if err := r.overOne(ctx, nodes); err != nil {
		return fmt.Errorf("over one node: %w", err)
	}
	r.say("logging in over all nodes")
	if err := r.overAll(ctx, nodes); err != nil {
		return fmt.Errorf("over all nodes: %w", err)
	}
	if n == 1 {
		return nil
	}
	r.say("killing a node")
	if err := r.death(ctx, nodes); err != nil {
		return fmt.Errorf("with a node killed: %w", err)
	}
	return nil
}

// startFleet is a variable for the tests, which have no ushers.
var startFleet = peers.Fleet

func (r *Round) endFleet(nodes []*peers.Target) error {
	var errs []error
	for _, node := range nodes {
		errs = append(errs, r.end(node, stopTarget))
	}
	return errors.Join(errs...)
}

// cpuOf is what each node has used.
func cpuOf(nodes []*peers.Target) ([]time.Duration, error) {
	used := make([]time.Duration, len(nodes))
	for i, node := range nodes {
		var err error
		if used[i], err = node.Group.CPU(); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// spread logs in over the first nodes in turn, and says what each of all used.
func (r *Round) spread(ctx context.Context, nodes []*peers.Target, over int) (load.Report, []time.Duration, error) {
	services := make([]load.Service, over)
	for i := range services {
		services[i] = r.serviceOf(nodes[i], "imap", "tls", nil)
	}
	op := func(ctx context.Context, _, i int) error {
		_, err := visit(ctx, services[i%over], i)
		return err
	}
	if warm := load.Closed(ctx, r.Params.Workers, max(r.Params.WarmUp, 2*over), op); warm.Done == 0 {
		return warm, nil, firstOf(warm, ctx)
	}
	before, err := cpuOf(nodes)
	if err != nil {
		return load.Report{}, nil, err
	}
	rep := r.closed(ctx, r.Params.Workers, r.Params.Logins, r.Params.FleetTime, op)
	after, err := cpuOf(nodes)
	if err != nil {
		return rep, nil, err
	}
	if rep.Done == 0 {
		return rep, nil, firstOf(rep, ctx)
	}
	if tooMany(rep.Failed, rep.Done) {
		return rep, nil, fmt.Errorf("%d of %d failed, the first: %w", rep.Failed, rep.Failed+rep.Done, rep.First)
	}
	for i := range after {
		after[i] -= before[i]
	}
	return rep, after, ctx.Err()
}

// overAll has load on every node; on one machine they share it.
func (r *Round) overAll(ctx context.Context, nodes []*peers.Target) error {
	rep, used, err := r.spread(ctx, nodes, len(nodes))
	if err != nil {
		return err
	}
	r.put("cpu_us", "µs", result.Lower, each(sum(used), rep.Done))
	r.put("rate", "/s", result.Higher, rep.Rate())
	r.put("failed", "", result.Lower, float64(rep.Failed))
	r.putLatency(rep)
	return nil
}

// overOne is the question: whether a node of many is dearer than a node alone.
// Compare cpu_us_one and rate_one of a fleet with those of a fleet of one.
func (r *Round) overOne(ctx context.Context, nodes []*peers.Target) error {
	rep, used, err := r.spread(ctx, nodes, 1)
	if err != nil {
		return err
	}
	if rep.Failed > 0 {
		return fmt.Errorf("%d of %d logins failed, the first: %w", rep.Failed, rep.Failed+rep.Done, rep.First)
	}
	r.put("cpu_us_one", "µs", result.Lower, each(used[0], rep.Done))
	r.put("rate_one", "/s", result.Higher, rep.Rate())
	if others := sum(used[1:]); len(nodes) > 1 {
		r.put("cpu_ms_per_s_others", "ms/s", result.Lower,
			others.Seconds()*1000/rep.Elapsed.Seconds()/float64(len(nodes)-1))
	}
	return nil
}

func sum(all []time.Duration) (total time.Duration) {
	for _, d := range all {
		total += d
	}
	return total
}

// A caller is a client that stays with its node until that fails it.
type caller struct {
	mu   sync.Mutex // a caller calls once at a time
	node int
}

// death kills one node while logins arrive at a fixed rate. Clients of it go on
// with the next node, and stay there.
func (r *Round) death(ctx context.Context, nodes []*peers.Target) error {
	services := make([]load.Service, len(nodes))
	for i, node := range nodes {
		services[i] = r.serviceOf(node, "imap", "tls", nil)
	}
	clients := make([]caller, callers)
	for i := range clients {
		clients[i].node = i % len(nodes)
	}
	var killed, lastFailed, failures atomic.Int64 // the first two in ns since began
	began := time.Now()
	op := func(ctx context.Context, i int) (err error) {
		c := &clients[i%callers]
		c.mu.Lock()
		defer c.mu.Unlock()
		for range nodes { // each once: a login that all refuse is lost
			if _, err = visit(ctx, services[c.node], i); err == nil {
				return nil
			}
			failures.Add(1)
			c.node = (c.node + 1) % len(nodes)
			defer func() { atomicMax(&lastFailed, int64(time.Since(began))) }() // when it has worked, or been given up
		}
		return err
	}
	var killing sync.WaitGroup
	var fault error
	dying := nodes[len(nodes)-1]
	killing.Go(func() {
		if fault = wait(ctx, time.Duration(killAfter*float64(r.Params.FleetTime))); fault == nil {
			killed.Store(int64(time.Since(began)))
			fault = r.kill(dying)
		}
	})
	rep := load.Open(ctx, r.Params.Rate, int(r.Params.Rate*r.Params.FleetTime.Seconds()), op)
	killing.Wait()
	if err := errors.Join(fault, ctx.Err()); err != nil {
		return err
	}
	if rep.Done == 0 {
		return firstOf(rep, ctx)
	}
	r.put("death_failures", "", result.Lower, float64(failures.Load()))
	r.put("death_lost", "", result.Lower, float64(rep.Failed))
	r.put("death_s", "s", result.Lower, max(0, time.Duration(lastFailed.Load()-killed.Load()).Seconds()))
	r.put("death_p99_ms", "ms", result.Lower, milliseconds(rep.Percentile(99)))
	r.putBehind("death_behind_ms", rep.Behind)
	return nil
}

// atomicMax raises a to at least v.
func atomicMax(a *atomic.Int64, v int64) {
	for {
		was := a.Load()
		if v <= was || a.CompareAndSwap(was, v) {
			return
		}
	}
}
