package scenario

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"usher.example/bench/gauge"
	"usher.example/bench/peers"
	"usher.example/bench/result"
	"usher.example/bench/sink"
)

// tiny are sizes that show what a scenario does in no time.
func tiny() Params {
	p := Quick()
	p.Logins, p.WarmUp, p.Workers, p.StalledWorkers = 12, 2, 2, 4
	p.Rate, p.RateTime = 100, 100*time.Millisecond
	p.Bulk, p.Piece = 2e6, 2e5
	p.Noops, p.Many, p.BesideTime = 40, 3, 50*time.Millisecond
	p.Idle, p.IdleTime, p.WarmOctets = []Held{{6, 1}}, 20*time.Millisecond, 3000
	p.SettleFor, p.SettlePoll, p.SettleLimit = 10*time.Millisecond, 5*time.Millisecond, 100*time.Millisecond
	p.Storm, p.Users, p.Hour = 8, 12, 200*time.Millisecond
	p.Fleets, p.FleetTime = []int{3}, 300*time.Millisecond
	p.Soak, p.SoakEvery, p.SoakIdle, p.SoakProbe = 400*time.Millisecond, 50*time.Millisecond, 3, 1e5
	p.Limit = 20 * time.Second
	return p
}

// A rig is a back end in this process, a certificate, and targets that relay to the
// one and show the other.
type rig struct {
	site       peers.Site
	roots      *x509.CertPool
	cert       tls.Certificate
	imap, pop3 string // the back end's
	logins     func() int64

	mu      sync.Mutex
	started []string // names, in order
	running int      // targets that have not been stopped
	alive   map[*peers.Target]func()
}

func newRig(t *testing.T, o sink.Options) *rig {
	t.Helper()
	o.IMAP, o.POP3 = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	s, err := sink.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background()) //nolint:usetesting // ends after the cleanup, in which targets end
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	r := &rig{logins: func() int64 { return s.Stats().Logins }, imap: s.IMAP()[0], pop3: s.POP3()[0], alive: map[*peers.Target]func(){}}
	r.site.Dir, r.site.SinkIMAP, r.site.SinkPOP3 = t.TempDir(), r.imap, r.pop3
	r.site.CertFile, r.site.KeyFile, r.roots, err = peers.NewCertificate(r.site.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.cert, err = tls.LoadX509KeyPair(r.site.CertFile, r.site.KeyFile); err != nil {
		t.Fatal(err)
	}
	stopTarget, killTarget = r.end, r.end
	startFleet = func(ctx context.Context, site peers.Site, n int) ([]*peers.Target, error) {
		var nodes []*peers.Target
		for range n {
			node, err := r.start("usher", true)
			if err != nil {
				return nodes, err
			}
			nodes = append(nodes, node)
		}
		return nodes, nil
	}
	t.Cleanup(func() {
		stopTarget, killTarget, startFleet = (*peers.Target).Stop, (*peers.Target).Kill, peers.Fleet
		if r.running != 0 {
			t.Errorf("%d targets were not stopped", r.running)
		}
	})
	return r
}

// peer is a target of the rig. A counted one has a process, whose figures stand for
// its own.
func (r *rig) peer(name string, counted bool) peers.Peer {
	return peers.Peer{
		Name: name, Curve: tls.X25519,
		Serves:  func(_, security string) bool { return security != "starttls" },
		Version: func() (string, error) { return "1", nil },
		Start:   func(context.Context, peers.Site) (*peers.Target, error) { return r.start(name, counted) },
	}
}

func (r *rig) start(name string, counted bool) (*peers.Target, error) {
	var ends []func()
	t := &peers.Target{}
	if counted {
		g, err := gauge.NewGroup("rig")
		if err != nil {
			return nil, err
		}
		if err := g.Start(exec.Command("sleep", "600")); err != nil {
			return nil, errors.Join(err, g.Kill())
		}
		t.Group = g
		ends = append(ends, func() { _ = g.Kill() })
	}
	addrs := map[string]string{"imap plain": r.imap, "pop3 plain": r.pop3}
	for protocol, to := range map[string]string{"imap": r.imap, "pop3": r.pop3} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{r.cert}, MinVersion: tls.VersionTLS13,
		})
		if err != nil {
			return nil, err
		}
		addrs[protocol+" tls"] = l.Addr().String()
		ends = append(ends, relay(l, to))
	}
	t.Addr = func(protocol, security string) string { return addrs[protocol+" "+security] }
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = append(r.started, name)
	r.running++
	r.alive[t] = func() {
		for _, end := range ends {
			end()
		}
	}
	return t, nil
}

func (r *rig) end(t *peers.Target) error {
	r.mu.Lock()
	end := r.alive[t]
	delete(r.alive, t)
	if end != nil {
		r.running--
	}
	r.mu.Unlock()
	if end != nil {
		end()
	}
	return nil
}

// relay is the least proxy there is. end closes it with all that goes through it.
func relay(l net.Listener, to string) (end func()) {
	var all sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	closed := false
	keep := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		conns[c] = true
		return !closed
	}
	all.Go(func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer front.Close()
				back, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer back.Close()
				if !keep(front) || !keep(back) {
					return
				}
				all.Go(func() {
					defer back.Close()
					_, _ = io.Copy(back, front)
				})
				_, _ = io.Copy(front, back)
			})
		}
	})
	return func() {
		l.Close()
		mu.Lock()
		closed = true
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	}
}

// stub stands for the back end's process.
type stub struct{}

func (stub) Pin(...int) error { return nil }

func (stub) CPU() (time.Duration, error) { return 0, nil }

// plan is a run of the rig's back end with some peers and courses.
func (r *rig) plan(p Params, courses []Course, all ...peers.Peer) Plan {
	r.site.Dir = filepath.Join(r.site.Dir, "targets")
	return Plan{
		Params: p, Peers: all, Courses: courses, Site: r.site, Stub: stub{},
		Roots: r.roots, ServerName: peers.ServerName,
		Progress: NewProgress(io.Discard),
		Save:     func(*result.Run) error { return nil },
	}
}

func newRun() *result.Run { return &result.Run{Schema: result.Schema, Started: time.Now().UTC()} }
