package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"usher.example/balancer/certs/pebble"
)

// memory is a storage that several registrars share, as a fleet does, that tells of
// changes, and that fails when it is told to.
type memory struct {
	mu       sync.Mutex
	values   map[string][]byte
	locks    map[string]chan struct{}
	watchers []func(string)
	fail     func(op, key string) error
	loads    map[string]int
	full     bool // set before anybody uses it
}

func newMemory() *memory {
	return &memory{values: map[string][]byte{}, locks: map[string]chan struct{}{}, loads: map[string]int{}}
}

func (m *memory) failing(f func(op, key string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

func (m *memory) try(op, key string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(op, key)
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	err := m.try("store", key)
	if err == nil {
		m.values[key] = bytes.Clone(value)
	}
	watchers := m.watchers
	m.mu.Unlock()
	if err == nil {
		for _, w := range watchers {
			w(key)
		}
	}
	return err
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads[key]++
	if err := m.try("load", key); err != nil {
		return nil, err
	}
	v, ok := m.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(v), nil
}

// loaded counts the reads.
func (m *memory) loaded() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, times := range m.loads {
		n += times
	}
	return n
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.values {
		if k == key || strings.HasPrefix(k, key+"/") {
			delete(m.values, k)
		}
	}
	return nil
}

func (m *memory) Exists(ctx context.Context, key string) bool {
	_, err := m.Load(ctx, key)
	return err == nil
}

func (m *memory) List(_ context.Context, prefix string, recursive bool) ([]string, error) {
	if recursive {
		return nil, errors.New("nobody lists all")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]bool{}
	for k := range m.values {
		if rest, ok := strings.CutPrefix(k, prefix+"/"); ok {
			child, _, _ := strings.Cut(rest, "/")
			found[prefix+"/"+child] = true
		}
	}
	if len(found) == 0 {
		return nil, fs.ErrNotExist
	}
	return slices.Collect(maps.Keys(found)), nil
}

func (m *memory) Stat(context.Context, string) (certmagic.KeyInfo, error) {
	return certmagic.KeyInfo{}, errors.New("nobody stats")
}

func (m *memory) lock(name string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] == nil {
		m.locks[name] = make(chan struct{}, 1)
	}
	return m.locks[name]
}

func (m *memory) Lock(ctx context.Context, name string) error {
	select {
	case m.lock(name) <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) TryLock(_ context.Context, name string) (bool, error) {
	select {
	case m.lock(name) <- struct{}{}:
		return true, nil
	default:
		return false, nil
	}
}

func (m *memory) Unlock(_ context.Context, name string) error {
	<-m.lock(name)
	return nil
}

func (m *memory) Watch(ctx context.Context, _ string, changed func(string)) {
	m.mu.Lock()
	m.watchers = append(m.watchers, changed)
	m.mu.Unlock()
	<-ctx.Done()
}

// keys are those with a suffix.
func (m *memory) keys(suffix string) (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.values {
		if strings.HasSuffix(k, suffix) {
			list = append(list, k)
		}
	}
	return list
}

func (b *book) count(text string) int { return strings.Count(b.String(), text) }

// A rig is one node: a keeper that runs, its doors, and its log.
type rig struct {
	*Keeper
	t       *testing.T
	log     *book
	storage *memory
	doors   *Doors
	end     func() // and waits
}

// anyPort is one that the kernel chooses.
const anyPort = -1

// newRig starts a node with an ACME part. Where ports are 0 there is no door.
func newRig(t *testing.T, s *memory, httpPort, alpnPort int) *rig {
	t.Helper()
	r := &rig{t: t, log: new(book), storage: s}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Keeper = New(Options{Log: log, Storage: s})
	r.doors = &Doors{Keeper: r.Keeper, Log: log}
	if err := r.doors.Apply(local(httpPort), local(alpnPort)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); r.registrar.run(ctx) }()
	r.end = func() {
		stop()
		r.doors.Close()
		<-done
	}
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			t.Logf("the node's log:\n%s", r.log)
		}
	})
	return r
}

func local(port int) string {
	if port == 0 {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(max(port, 0)))
}

// ports are where the doors are.
func (r *rig) ports() (httpPort, alpnPort int) {
	port := func(address string) int {
		if address == "" {
			return 0
		}
		return int(netip.MustParseAddrPort(address).Port())
	}
	h, a := r.doors.Addresses()
	return port(h), port(a)
}

// aCA is one that looks for answers at the rig's doors.
func (r *rig) aCA(o pebble.Options) *pebble.Server {
	r.t.Helper()
	o.HTTPPort, o.TLSPort = r.ports()
	return pebble.New(r.t, o)
}

// wants puts a plan into force.
func (r *rig) wants(a ACME, names, patterns []string) {
	r.t.Helper()
	p, err := r.registrar.plan(Plan{ACME: a, Listeners: map[string]Listener{"l": {Sources: []Source{{Names: names}, {OnDemand: patterns}}}}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.registrar.apply(p)
}

// Renew is what an administrator does.
func (r *rig) Renew(ctx context.Context, name string, force bool) error {
	return r.shelf([]string{name}, nil).renew(ctx, name, "", force)
}

// shelf is that of a source.
func (r *rig) shelf(names, patterns []string) *ordered {
	return r.registrar.shelf(Source{Names: names, OnDemand: patterns})
}

// has waits for a certificate of a name and returns it.
func (r *rig) has(name string) *tls.Certificate {
	r.t.Helper()
	var list []*tls.Certificate
	until(r.t, "a certificate of "+name, func() bool {
		list = r.registrar.at(name)
		return list != nil
	})
	return list[0]
}

// says waits for a text in the log.
func (r *rig) says(text string) {
	r.t.Helper()
	until(r.t, "the log to say "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// until polls.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// at is a CA as an issuer.
func issuerAt(s *pebble.Server, name string, how ...Challenge) Issuer {
	return Issuer{Name: name, Directory: s.Directory, Roots: s.Pool, Challenges: how}
}

// acmeOf asks these issuers.
func acmeOf(i ...Issuer) ACME {
	return ACME{Email: "postmaster@example.org", Agreed: true, Issuers: i}
}
