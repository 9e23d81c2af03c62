package certs

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

const (
	// worksEvery is the time between two looks at a certificate that is as it should
	// be: it is when a renewal falls due, and when news are seen that nobody told.
	worksEvery = 10 * time.Minute

	// readsAtOnce bounds reads of the storage at a start.
	readsAtOnce = 16

	// ordersAtOnce bounds orders of this node: CAs allow some hundreds an hour.
	ordersAtOnce = 8

	// workTime bounds one look with all that follows from it: orders with several
	// issuers, and the wait for a node that is at the same name.
	workTime = 20 * time.Minute
)

// storagePause is the time between tries when the fleet does not answer: a leader is
// elected in seconds, and a node that begins waits for it, too.
const storagePause = 3 * time.Second

// storageQuiet is how many such tries in a row are nothing to tell.
const storageQuiet = 5

// pauses are the times between tries that fail. Most causes are gone at the second;
// later ones need an administrator, or days.
var pauses = []time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour,
}

// A registrar obtains certificates, renews them in time and has them at hand. One
// serves all listeners of a node, and outlives plans.
type registrar struct {
	log     *slog.Logger
	zap     *zap.Logger
	storage certmagic.Storage
	dares   dares
	lookups lookups
	said    once
	budget  budget
	news    chan struct{} // has one when run should look
	reads   chan struct{} // slots
	orders  chan struct{}
	asked   chan struct{} // slots of orders that clients have asked for

	current atomic.Pointer[policy]
	shown   atomic.Pointer[map[string][]*work] // with a certificate, by name, the kinds in order
	cache   *certmagic.Cache                   // of run

	mu      sync.Mutex // guards what follows, and what works say of themselves
	tooled  *policy    // what the presses are for
	presses map[KeyKind]*press
	works   map[want]*work
	watched map[string]want // by the key that is stored last
	waits   map[string]*limits
}

// A work is a wanted certificate and the state of the efforts for it.
type work struct {
	want
	used atomic.Int64          // when a client last asked for it, Unix seconds
	read atomic.Bool           // the storage was looked into
	pair atomic.Pointer[stock] // what is served

	// Guarded by registrar.mu.
	demanded bool             // a client has asked for it, no configuration
	busy     bool             // somebody looks after it
	again    bool             // and should once more
	peek     bool             // it was stored meanwhile, so there may be something to serve
	due      time.Time        // of the next look
	tries    int              // that failed, in a row
	fresh    string           // what the log will call the next certificate: obtained, renewed
	err      error            // of the last try
	faults   map[string]error // of it, by the issuer's name
	looked   chan struct{}    // closed at the end of the look that is next
}

func newRegistrar(o Options) *registrar {
	r := &registrar{
		log: o.Log, storage: o.Storage, news: make(chan struct{}, 1),
		reads: make(chan struct{}, readsAtOnce), orders: make(chan struct{}, ordersAtOnce), asked: make(chan struct{}, demandsAtOnce),
		works: make(map[want]*work), waits: make(map[string]*limits),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.zap = bridge(r.log)
	r.lookups.find = func(ctx context.Context, name string) (*dare, error) {
		return elsewhere(ctx, r.storage, r.policy().cas, name)
	}
	r.current.Store(new(policy))
	r.shown.Store(new(map[string][]*work))
	return r
}

func (r *registrar) policy() *policy { return r.current.Load() }

// apply puts a policy into force. What is served of names that stay goes on.
func (r *registrar) apply(p *policy) {
	r.current.Store(p)
	r.wake()
}

func (r *registrar) wake() {
	select {
	case r.news <- struct{}{}:
	default: // one stands for all
	}
}

// run looks after all certificates until ctx ends, and waits for what it began.
func (r *registrar) run(ctx context.Context) {
	if r.storage == nil {
		<-ctx.Done()
		return
	}
	r.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return nil, nil }, // it stays empty
		Logger:           r.zap,
	})
	defer r.cache.Stop()
	var working sync.WaitGroup
	defer working.Wait()
	if w, ok := r.storage.(Watcher); ok {
		working.Go(func() { w.Watch(ctx, "", r.changed) })
	}
	working.Go(func() { r.sweeps(ctx) })
	for ctx.Err() == nil {
		next := time.NewTimer(r.step(ctx, &working))
		select {
		case <-ctx.Done():
		case <-r.news:
		case <-next.C:
		}
		next.Stop()
	}
}

// step begins what is due, and says how long nothing else will be.
func (r *registrar) step(ctx context.Context, working *sync.WaitGroup) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if p := r.policy(); p != r.tooled {
		r.retool(p)
	}
	r.retire(now)
	pause := worksEvery
	for _, w := range r.works {
		switch wait := w.due.Sub(now); {
		case w.busy && w.peek: // whoever is at it may wait for a lock for long
			w.peek = false
			working.Go(func() { _, _, _ = r.read(ctx, w) }) // who is at it will see the error
		case w.busy:
		case wait <= 0:
			w.busy = true
			press := r.presses[w.kind]
			working.Go(func() { r.work(ctx, press, w) })
		default:
			pause = min(pause, wait)
		}
	}
	return pause
}

// retool prepares for a policy: new issuers, names that come and go.
func (r *registrar) retool(p *policy) {
	r.tooled, r.presses = p, make(map[KeyKind]*press)
	if len(p.Issuers) > 0 {
		for _, kind := range p.keys() {
			r.presses[kind] = r.newPress(p, kind)
		}
	}
	maps.DeleteFunc(r.works, func(w want, old *work) bool {
		wanted := r.presses[w.kind] != nil && (slices.Contains(p.names, w.name) || old.demanded && p.demanded(w.name))
		return !wanted
	})
	for _, name := range p.names {
		r.want(name, false)
	}
	for _, w := range r.works { // what failed may do better now
		w.due, w.tries, w.again = time.Time{}, 0, w.busy
	}
	r.list()
}

// want begins to want a name. The caller holds r.mu.
func (r *registrar) want(name string, demanded bool) {
	for kind := range r.presses {
		w := want{name, kind}
		if old := r.works[w]; old != nil {
			old.demanded = old.demanded && demanded
			continue
		}
		r.works[w] = &work{want: w, demanded: demanded, looked: make(chan struct{})}
	}
}

// list makes what others read without a lock. The caller holds r.mu.
func (r *registrar) list() {
	shown := make(map[string][]*work)
	r.watched = make(map[string]want)
	kinds := r.policy().keys()
	for w, job := range r.works {
		for _, ca := range r.policy().cas {
			r.watched[w.kind.stored(certmagic.StorageKeys.SiteMeta(ca, w.name))] = w
		}
		if job.pair.Load() != nil {
			shown[w.name] = append(shown[w.name], job)
		}
	}
	for _, jobs := range shown {
		slices.SortFunc(jobs, func(a, b *work) int { return slices.Index(kinds, a.kind) - slices.Index(kinds, b.kind) })
	}
	r.shown.Store(&shown)
}

// changed hears of a key that somebody in the fleet has stored.
func (r *registrar) changed(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.watched[key]; ok {
		r.soon(r.works[w])
	}
}

// soon has a certificate looked at. The caller holds r.mu.
func (r *registrar) soon(w *work) {
	if w.again, w.peek = w.busy, w.busy; !w.busy {
		w.due = time.Time{}
	}
	r.wake()
}

// limit is what is remembered of a CA's wish to be left alone, over plans. The
// caller holds r.mu.
func (r *registrar) limit(ca string) *limits {
	if r.waits[ca] == nil {
		r.waits[ca] = new(limits)
	}
	return r.waits[ca]
}

// at is the certificates of a name, or of the wildcard that has it.
func (r *registrar) at(name string) []*tls.Certificate {
	shown := *r.shown.Load()
	jobs := shown[name]
	if len(jobs) == 0 {
		return nil
	}
	list := make([]*tls.Certificate, len(jobs))
	now := time.Now().Unix()
	for i, w := range jobs {
		list[i] = w.pair.Load().Certificate
		w.used.Store(now)
	}
	return list
}

// later is a time from now, with some chance in it: nodes that begin together
// should not go on together.
func later(d time.Duration) time.Time {
	return time.Now().Add(d - d/10 + rand.N(d/5+1))
}
