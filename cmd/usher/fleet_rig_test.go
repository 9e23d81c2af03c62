package main_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster"
	"usher.example/cluster/table"
	"usher.example/cmd/internal/dovecot"
)

// The tests of the fleet_*_test.go files run fleets of real processes before real
// Dovecots with shared storage. What counts is what the Dovecots wrote into their
// own logs: a user was never at two of them at once.

// portFleet is where nodes meet.
const portFleet = 2946

// kickDelay is what tests set whose point it is not.
const kickDelay = 200 * time.Millisecond

// stamped has Dovecot write the time to the microsecond.
const stamped = "log_timestamp = \"%Y-%m-%d %H:%M:%S.%{usecs} \"\n"

// voterNames are the nodes that vote.
var voterNames = []string{"edge-1", "edge-2", "edge-3"}

// A rig is a fleet and what is behind it.
type rig struct {
	t       testing.TB
	o       rigOptions
	secret  string // path
	servers []*dovecot.Server
	killed  map[*dovecot.Server][]time.Time
	nodes   []*edge
	began   time.Time
}

// rigOptions say what fleet a test wants. Zero is three nodes that serve while
// isolated, before two Dovecots, with probes that decide nothing.
type rigOptions struct {
	servers int
	storage string // of the pool; empty: shared
	refuse  bool
	health  string
	head    string // keys ahead of [fleet]
	more    string // keys of [fleet]
	kick    time.Duration
	users   map[string]string // nil: everybody is one
	homes   []netHome         // of the nodes; nil: loopback

	address func(i int) dovecot.Options
}

// An edge is a node of the rig.
type edge struct {
	*site
	p     *proc // nil until it is started
	name  string
	peers string // address at which other nodes find it

	secret string // a file of its own; empty: the rig's
}

// newRig starts the servers and writes the configuration of the nodes.
func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	if _, err := program(); err != nil { // before any time is taken
		t.Fatal(err)
	}
	if o.servers == 0 {
		o.servers = 2
	}
	if o.storage == "" {
		o.storage = "shared"
	}
	if o.health == "" {
		o.health = calmHealth
	}
	if o.kick == 0 {
		o.kick = kickDelay
	}
	r := &rig{t: t, o: o, killed: map[*dovecot.Server][]time.Time{}, secret: filepath.Join(t.TempDir(), "secret")}
	newSecret(t, r.secret)
	storage, authority := dovecot.NewStorage(t), dovecot.NewAuthority(t)
	r.servers = make([]*dovecot.Server, o.servers)
	for i := range r.servers {
		so := dovecot.Options{}
		if o.address != nil {
			so = o.address(i)
		}
		so.Users = o.users
		so.Name, so.Storage, so.Authority, so.RequireTLS, so.Extra = fmt.Sprintf("mail%d", i+1), storage, authority, true, stamped
		r.servers[i] = dovecot.Start(t, so)
	}
	for _, name := range voterNames {
		r.add(name)
	}
	return r
}

// newSecret writes a fleet's secret.
func newSecret(t testing.TB, path string) {
	t.Helper()
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(b[:])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// add makes a node, which is not started.
func (r *rig) add(name string) *edge {
	r.t.Helper()
	e := &edge{name: name, site: newSite(r.t, r.o.storage, r.servers...)}
	e.pools[0].health = r.o.health
	e.peers = e.host
	if i := len(r.nodes); i < len(r.o.homes) {
		e.host, e.peers, e.within = r.o.homes[i].mail, r.o.homes[i].fleet, r.o.homes[i].within()
		e.renew()
	}
	r.nodes = append(r.nodes, e)
	for _, e := range r.nodes {
		e.head = "drain = \"20s\"\n" + r.o.head + r.fleetTable(e)
	}
	return e
}

func (r *rig) fleetTable(e *edge) string {
	var join []string
	for _, n := range r.nodes {
		join = append(join, fmt.Sprintf("%q", hostPort(n.peers, portFleet)))
	}
	isolated := "serve"
	if r.o.refuse {
		isolated = "refuse"
	}
	secret := r.secret
	if e.secret != "" {
		secret = e.secret
	}
	return fmt.Sprintf("[fleet]\nname = \"test\"\nnode = %q\nsecret_file = %q\nbind = %q\njoin = [%s]\nvoters = [\"%s\"]\n"+
		"state_dir = %q\nwhen_isolated = %q\nkick_delay = %q\n%s",
		e.name, secret, hostPort(e.peers, portFleet), strings.Join(join, ", "), strings.Join(voterNames, `", "`),
		e.state(), isolated, r.o.kick, r.o.more)
}

// state is the node's state directory.
func (e *edge) state() string { return e.file("state") }

// start starts the rig's nodes and waits until all of them serve.
func (r *rig) start() {
	r.t.Helper()
	r.began = time.Now()
	for _, e := range r.nodes {
		e.begin()
	}
	for _, e := range r.nodes {
		e.ready()
	}
	r.t.Logf("%d nodes serve after %v", len(r.nodes), since(r.began))
}

// begin starts a node and does not wait.
func (e *edge) begin() { e.p = e.launch() }

// ready waits until the node serves, with the fleet's word.
func (e *edge) ready() {
	e.t.Helper()
	eventually(e.t, e.name+" serves", func() bool {
		select {
		case <-e.p.done:
			e.t.Fatalf("%s ended at once: %v", e.name, e.p.err)
		default:
		}
		status, _ := e.p.ask("/readyz")
		return status == http.StatusOK
	})
}

// kill ends a node as a loss of power does.
func (e *edge) kill() {
	e.p.signal(syscall.SIGKILL)
	<-e.p.done
	e.p.err = nil // as was asked
}

// stop ends a node in good order.
func (e *edge) stop() {
	e.p.signal(syscall.SIGTERM)
	e.p.signal(syscall.SIGTERM) // do not wait for sessions
	e.p.wait()
}

// killServer kills a Dovecot; its sessions have no last line in its log.
func (r *rig) killServer(i int) {
	s := r.servers[i]
	s.Kill9(r.t)
	r.killed[s] = append(r.killed[s], time.Now())
}

// index is the number of a back end by its name.
func index(backend string) int { return int(backend[len(backend)-1] - '1') }

// administrator joins the fleet as a witness and is what the tests give orders
// by.
func (r *rig) administrator(host string) *cluster.Fleet {
	r.t.Helper()
	secrets, err := cluster.ReadSecrets(r.secret)
	if err != nil {
		r.t.Fatal(err)
	}
	if host == "" {
		host = reserve(r.t)
	}
	var join []string
	for _, n := range r.nodes {
		join = append(join, hostPort(n.peers, portFleet))
	}
	f, err := cluster.OpenFleet(cluster.FleetOptions{
		Fleet: "test", Node: "admin", Secrets: secrets, Bind: hostPort(host, portFleet), Join: join, Voters: voterNames, Witness: true,
		State: filepath.Join(r.t.TempDir(), "admin"), KickDelay: r.o.kick, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	r.t.Cleanup(func() { stop(); running.Wait(); f.Close() })
	eventually(r.t, "the administrator is a member", func() bool {
		o := f.Overview()
		for _, m := range o.Members {
			if m.Node == "admin" && m.Address != "" && o.Quorum && len(f.Status()) > 0 {
				return true
			}
		}
		return false
	})
	return f
}

// leads finds the node that leads.
func (r *rig) leads(f *cluster.Fleet) *edge {
	r.t.Helper()
	var leader *edge
	eventually(r.t, "somebody leads", func() bool {
		name := f.Overview().Leader
		for _, e := range r.nodes {
			if e.name == name {
				leader = e
			}
		}
		return leader != nil
	})
	return leader
}

// follows finds a voter that does not lead.
func (r *rig) follows(f *cluster.Fleet) *edge {
	r.t.Helper()
	leader := r.leads(f)
	for _, e := range r.nodes {
		if e != leader {
			return e
		}
	}
	return nil
}

// session logs a user in through a node, and ends with the test.
func (r *rig) session(e *edge, user string) *client {
	r.t.Helper()
	c, verdict := e.try(user)
	if !good(verdict) {
		r.t.Fatalf("%s by %s: %q %v", user, e.name, verdict, c.err)
	}
	return c
}

// try logs a user in by IMAP and returns the verdict.
func (e *edge) try(user string) (*client, string) {
	c := e.enter("imaps", entry{})
	e.t.Cleanup(c.Close)
	return c, c.login(user, "secret")
}

// tries logs in once and ends the connection.
func (e *edge) tries(user string) (ok bool, verdict string) {
	c := e.enter("imaps", entry{})
	defer c.Close()
	verdict = c.login(user, "secret")
	if c.err != nil {
		return false, c.err.Error()
	}
	return good(verdict), verdict
}

// since is a duration for people.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// deadlineCtx bounds an order to the fleet.
func deadlineCtx(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A setter and a mover are what an administrator does.
type setter interface {
	SetAdmin(ctx context.Context, pool, backend string, state table.Admin, by string) error
}

type mover interface {
	Move(ctx context.Context, pool, user, target, by string) error
}
