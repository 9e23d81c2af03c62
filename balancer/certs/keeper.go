package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Keeper holds the certificates of a node. Any number of goroutines may use it.
type Keeper struct {
	options Options
	serving atomic.Pointer[map[string]*front] // by listener; what it points to never changes
	changed chan struct{}                     // a plan came into force

	registrar *registrar // what obtains certificates

	applying sync.Mutex // one Change at a time, from Prepare to its end

	mu      sync.Mutex // guards what follows; never held while waiting
	shelves map[string]*placed
	ctx     context.Context // of Run; nil while nothing runs
	running sync.WaitGroup  // added to under mu while ctx is not nil
	told    map[string]time.Time
}

// A placed shelf is one that the plan in force needs.
type placed struct {
	shelf
	listeners []string // sorted
	stop      context.CancelFunc
	done      chan struct{} // closed when run has returned; nil: it was not started
}

// New makes a Keeper that has nothing yet.
func New(o Options) *Keeper {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	k := &Keeper{options: o, registrar: newRegistrar(o), changed: make(chan struct{}, 1), shelves: make(map[string]*placed), told: make(map[string]time.Time)}
	k.serving.Store(new(map[string]*front))
	return k
}

// Apply puts a plan into force. After an error the one before stays, whole. It
// reads all files that the plan names, also those that an earlier one named.
func (k *Keeper) Apply(p Plan) error {
	c, err := k.Prepare(p)
	if err != nil {
		return err
	}
	c.Commit()
	return nil
}

// Run watches and renews until ctx ends, and returns when all that it began has
// ended.
func (k *Keeper) Run(ctx context.Context) {
	k.mu.Lock()
	k.ctx = ctx
	for _, p := range k.shelves {
		k.start(p)
	}
	k.running.Go(func() { k.registrar.run(ctx) })
	k.running.Go(func() { k.watch(ctx) })
	k.running.Go(func() { k.remind(ctx) })
	k.mu.Unlock()
	<-ctx.Done()
	k.mu.Lock()
	k.ctx = nil
	k.mu.Unlock()
	k.running.Wait()
}

// start is called with mu held.
func (k *Keeper) start(p *placed) {
	if k.ctx == nil || k.ctx.Err() != nil || p.done != nil {
		return
	}
	ctx, stop := context.WithCancel(k.ctx)
	p.stop, p.done = stop, make(chan struct{})
	k.running.Go(func() {
		defer close(p.done)
		p.run(ctx)
	})
}

// Config returns what a listener's handshakes are done with. It follows later
// plans: there is no need to ask again. Its GetCertificate chooses among the
// listener's certificates, and keeps nothing of what a client sent.
func (k *Keeper) Config(listener string) *tls.Config {
	return &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return k.registrar.challenge(hello), nil
	}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		f := (*k.serving.Load())[listener]
		if f == nil {
			return nil, fmt.Errorf("no certificate is planned for listener %s", listener)
		}
		return f.choose(hello, time.Now())
	}}
}

// List says what certificates there are and what is wrong with them, those that
// the plan names first, first.
func (k *Keeper) List() []Status {
	k.mu.Lock()
	shelves := slices.Collect(maps.Values(k.shelves))
	k.mu.Unlock()
	now := time.Now()
	var list []Status
	for _, p := range shelves {
		for _, s := range p.list() {
			s.Listeners = p.listeners
			s.Problem = cmp.Or(s.Problem, dated(&s, now))
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.name(), b.name()), cmp.Compare(a.From, b.From), cmp.Compare(a.Key, b.Key), b.NotAfter.Compare(a.NotAfter))
	})
	judge(list, now)
	doubtClock(list, now)
	return list
}
