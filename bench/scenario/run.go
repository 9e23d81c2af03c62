package scenario

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"usher.example/bench/gauge"
	"usher.example/bench/peers"
	"usher.example/bench/result"
)

// A Plan is what is to be run, and with what.
type Plan struct {
	Params     Params
	Peers      []peers.Peer
	Courses    []Course
	Site       peers.Site // each start of a target gets a folder of its own below Dir
	Stub       Stub       // that Site names the addresses of
	Roots      *x509.CertPool
	ServerName string
	Progress   *Progress
	// Save keeps what there is; it is called after every repetition of a course
	// and at the end.
	Save func(*result.Run) error
}

// A runner is a plan under way. It belongs to one goroutine.
type runner struct {
	Plan
	run    *result.Run
	spent  time.Duration // CPU of targets that have ended
	starts int
}

// Run fills run, whose machine and settings are the caller's, until everything is
// measured or ctx ends: that is no error of a target, and no fault. In both cases
// all targets have ended and what there is was saved. An error is one of the
// benchmark's own.
func Run(ctx context.Context, plan Plan, run *result.Run) error {
	r := &runner{Plan: plan, run: run}
	if run.Settings == nil {
		run.Settings = map[string]string{}
	}
	if r.Progress == nil {
		r.Progress = NewProgress(os.Stderr)
	}
	r.versions()
	account, err := open(r.Stub, &r.spent)
	if err != nil {
		return err
	}
	rounds, weight := r.size()
	r.Progress.begin(rounds, weight)
	err = r.all(ctx)
	r.Progress.end()
	others, counted := account.others()
	if counted == nil {
		run.Settings["other_cpu"] = strconv.FormatFloat(others, 'f', 2, 64)
	}
	run.Elapsed = time.Since(run.Started)
	return errors.Join(err, counted, r.Save(run))
}

// versions lists the targets, and keeps those that are there.
func (r *runner) versions() {
	var there []peers.Peer
	for _, p := range r.Peers {
		t := result.Target{Name: p.Name, Note: p.Note}
		if version, err := p.Version(); err != nil {
			t.Missing = err.Error()
		} else {
			t.Version = version
			there = append(there, p)
		}
		r.run.Targets = append(r.run.Targets, t)
	}
	r.Peers = there
}

// takes reports which parts of a course are for a peer; of none it is passed over.
func (c Course) takes(p peers.Peer) []Part {
	if c.Only != "" && c.Only != p.Name {
		return nil
	}
	var parts []Part
	for _, part := range c.Parts {
		if part.served(p.Serves) {
			parts = append(parts, part)
		}
	}
	return parts
}

// size is how many rounds there are, and how long they take, about.
func (r *runner) size() (rounds int, weight time.Duration) {
	for _, c := range r.Courses {
		for _, p := range r.Peers {
			if len(c.takes(p)) > 0 {
				rounds += c.Repetitions
				weight += time.Duration(c.Repetitions) * c.Weight
			}
		}
	}
	return rounds, weight
}

// all runs every course: in each repetition all targets, in an order that is drawn.
func (r *runner) all(ctx context.Context) error {
	for at, c := range r.Courses {
		account, err := open(r.Stub, &r.spent)
		if err != nil {
			return err
		}
		for repetition := 1; repetition <= c.Repetitions; repetition++ {
			for _, i := range order(r.Params.Seed, at, repetition, len(r.Peers)) {
				parts := c.takes(r.Peers[i])
				if len(parts) == 0 {
					continue
				}
				if ctx.Err() != nil {
					return nil
				}
				r.Progress.next(fmt.Sprintf("%s %d/%d of %s", c.Name, repetition, c.Repetitions, r.Peers[i].Name))
				if err := r.round(ctx, c, parts, r.Peers[i], repetition); err != nil {
					return err
				}
				r.Progress.finished(c.Weight)
			}
			r.run.Elapsed = time.Since(r.run.Started)
			if err := r.Save(r.run); err != nil {
				return err
			}
		}
		if others, err := account.others(); err == nil {
			r.run.Settings["other_cpu."+c.Name] = strconv.FormatFloat(others, 'f', 2, 64)
		}
	}
	return nil
}

// order is in which order n targets are taken in a repetition of a course: drawn anew
// each time, so that none always follows the same one, and finds what that has left
// of the machine: its heat, its caches, its sockets.
func order(seed uint64, course, repetition, n int) []int {
	return rand.New(rand.NewPCG(seed, uint64(course)<<32|uint64(repetition))).Perm(n)
}

// round starts a target afresh, takes it through the parts and stops it. Its error
// is the benchmark's own; what goes wrong with the target is a fault.
func (r *runner) round(ctx context.Context, c Course, parts []Part, peer peers.Peer, repetition int) (err error) {
	r.starts++
	site := r.Site
	// Short, since some targets make sockets in it, whose names are bounded.
	site.Dir = filepath.Join(r.Site.Dir, strconv.Itoa(r.starts))
	if err := os.MkdirAll(site.Dir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(site.Dir)) }()

	life, end := context.WithCancel(ctx)
	defer end()
	round := &Round{
		Params: r.Params, Peer: peer, Site: site, Stub: r.Stub, Roots: r.Roots, ServerName: r.ServerName,
		Repetition: repetition, life: life, now: r.Progress.say, settings: map[string]string{}, ended: map[*gauge.Group]bool{},
	}
	fault := func(part Part, err error) {
		if ctx.Err() != nil {
			return // we ended it
		}
		r.run.AddFault(result.Fault{Scenario: part.Name, Target: peer.Name, Repetition: repetition, Text: err.Error()})
		r.Progress.tell(fmt.Sprintf("%s of %s, repetition %d: %v", part.Name, peer.Name, repetition, err))
	}
	defer r.collect(round)
	if !c.OwnStart {
		round.say("starting")
		if round.Target, err = peer.Start(life, site); err != nil {
			for _, part := range parts {
				fault(part, fmt.Errorf("start: %w", err))
			}
			return nil
		}
	}
	defer func() {
		round.release()
		if err := round.stop(); err != nil {
			fault(parts[len(parts)-1], fmt.Errorf("stop: %w", err))
		}
	}()
	for i, part := range parts {
		if ctx.Err() != nil {
			return nil
		}
		round.scenario = part.Name
		round.say(part.Name)
		if err := round.part(life, part); err != nil && !errors.Is(err, errSkip) {
			fault(part, err)
		}
		if err := round.alive(); err != nil {
			for _, missed := range parts[i+1:] {
				fault(missed, fmt.Errorf("not run, since in %s the target ended: %w", part.Name, err))
			}
			return nil
		}
	}
	return nil
}

// part runs a part for as long as it may take. What a part hands in before it fails
// stays: it was measured.
func (r *Round) part(ctx context.Context, part Part) error {
	limit := r.Params.Limit + part.Takes
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	err := part.Run(ctx, r)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done within %s: %w", limit, err)
	}
	return err
}

// alive is why the target has ended, if it has.
func (r *Round) alive() error {
	if r.Target == nil || r.Target.Group == nil {
		return nil
	}
	return r.Target.Group.Alive()
}

// stopTarget and killTarget are variables for the tests, whose targets are not of
// package peers.
var (
	stopTarget = (*peers.Target).Stop
	killTarget = (*peers.Target).Kill
)

// stop ends the round's target, unless it has ended.
func (r *Round) stop() error {
	if r.Target == nil {
		return nil
	}
	return r.end(r.Target, stopTarget)
}

// kill is the death of a node: of the target and what helps it.
func (r *Round) kill(t *peers.Target) error { return r.end(t, killTarget) }

// end ends a target by one of its ways, and takes down what it used in its life.
func (r *Round) end(t *peers.Target, how func(*peers.Target) error) error {
	errs := []error{how(t)}
	for _, g := range []*gauge.Group{t.Group, t.Aside} {
		if g == nil || r.ended[g] {
			continue
		}
		used, err := g.CPU()
		r.spent += used
		r.ended[g] = true
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// collect takes over what a round has measured.
func (r *runner) collect(round *Round) {
	for _, s := range round.samples {
		r.run.Add(s)
	}
	r.run.Series = append(r.run.Series, round.series...)
	maps.Copy(r.run.Settings, round.settings)
	r.spent += round.spent
}
