package certs

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
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

	// workTime bounds one look, and then one order with several issuers and the wait
	// for a node that is at the same name, but not the wait for its turn.
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
	log      *slog.Logger
	zap      *zap.Logger
	storage  certmagic.Storage
	volatile bool // storage is lost with the process
	dares    dares
	wholes   wholes
	lookups  lookups
	heard    hearsay
	said     once
	budget   budget
	news     chan struct{} // has one when run should look
	reads    chan struct{} // slots
	orders   chan struct{}
	asked    chan struct{} // slots of orders that clients have asked for

	current atomic.Pointer[policy]
	shown   sync.Map         // by name, []*work: those with a certificate, the kinds in order; each never changes
	cache   *certmagic.Cache // of run

	mu       sync.Mutex // guards what follows, and what works say of themselves
	tooled   *policy    // what the presses are for
	print    string     // its fingerprint
	presses  map[KeyKind]*press
	works    map[want]*work
	watched  map[string]want // by the key that is stored last
	misses   misses
	recalled *policy // the plan for which the storage was searched for names of clients
	waits    map[string]*limits
}

// A work is a wanted certificate and the state of the efforts for it.
type work struct {
	want
	used atomic.Int64          // when a client last asked for it, Unix seconds
	read atomic.Bool           // the storage was looked into
	pair atomic.Pointer[stock] // what is served

	// Guarded by registrar.mu.
	demanded bool             // a client has asked for it, no configuration
	since    time.Time        // when it was first wanted
	counted  bool             // in budget.reads
	busy     bool             // somebody looks after it
	again    bool             // and should once more
	peek     bool             // it was stored meanwhile, so there may be something to serve
	due      time.Time        // of the next look
	tries    int              // that failed, in a row
	asked    bool             // a CA was asked for it in this look
	good     time.Time        // until when what it gave last is
	last     attempt          // as far as this node knows
	fresh    string           // what the log will call the next certificate: obtained, renewed
	err      error            // of the last try
	faults   map[string]error // of it, by the issuer's name
	looked   chan struct{}    // closed at the end of the look that is next
}

func newRegistrar(o Options) *registrar {
	r := &registrar{
		log: o.Log, storage: o.Storage, volatile: o.Volatile, news: make(chan struct{}, 1),
		reads: make(chan struct{}, readsAtOnce), orders: make(chan struct{}, ordersAtOnce), asked: make(chan struct{}, demandsAtOnce),
		works: make(map[want]*work), waits: make(map[string]*limits), watched: make(map[string]want),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.zap = bridge(r.log)
	r.lookups.find = func(ctx context.Context, name string) (*dare, error) {
		return elsewhere(ctx, r.storage, r.challengeKeys(name))
	}
	r.current.Store(new(policy))
	return r
}

func (r *registrar) policy() *policy { return r.current.Load() }

// apply puts a policy into force. What is served of names that stay goes on.
func (r *registrar) apply(p *policy) {
	if n := len(p.names) + len(p.patterns); n > 0 && r.volatile && r.said.first("volatile", time.Now()) {
		r.log.Warn("automatic certificates are kept in memory, and ordered anew at each start; CAs limit how many they give in a week: set fleet.state_dir", "names", n)
	}
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
	defer r.lookups.close()
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
		if r.recalled = p; len(p.patterns) > 0 {
			r.recalled = nil
			working.Go(func() { r.recall(ctx, p) })
		}
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
			if w.unasked() {
				working.Go(func() { r.glance(ctx, w) })
				continue
			}
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
	before := r.print
	r.tooled, r.print, r.presses = p, p.fingerprint(), make(map[KeyKind]*press)
	if len(p.Issuers) > 0 {
		for _, kind := range p.keys() {
			r.presses[kind] = r.newPress(p, kind)
		}
	}
	for key, w := range r.works {
		if r.presses[w.kind] == nil || !p.listed(w.name) && (!w.demanded || !p.demanded(w.name)) {
			r.forget(key)
		}
	}
	for _, name := range p.names {
		r.want(name, false)
	}
	clear(r.watched)
	r.misses = misses{}
	for _, w := range r.works {
		if r.print != before { // what failed may do better now
			w.due, w.tries, w.again = time.Time{}, 0, w.busy
		}
		r.watch(w.want)
		r.show(w.name)
	}
}

// want begins to want a name. The caller holds r.mu.
func (r *registrar) want(name string, demanded bool) {
	for kind := range r.presses {
		w := want{name, kind}
		if old := r.works[w]; old != nil {
			old.demanded = old.demanded && demanded
			continue
		}
		r.add(w, demanded)
	}
}

// add begins a work. The caller holds r.mu.
func (r *registrar) add(w want, demanded bool) {
	r.works[w] = &work{want: w, demanded: demanded, since: time.Now(), looked: make(chan struct{})}
	r.watch(w)
}

// watch has news of a certificate heard, whichever issuer's it is. The caller holds r.mu.
func (r *registrar) watch(w want) {
	for _, key := range r.metas(w) {
		r.watched[key] = w
	}
}

// forget ends a work. The caller holds r.mu.
func (r *registrar) forget(w want) {
	delete(r.works, w)
	for _, key := range r.metas(w) {
		delete(r.watched, key)
	}
	r.show(w.name)
}

// metas are the keys that are stored last of a certificate. The caller holds r.mu.
func (r *registrar) metas(w want) []string {
	var keys []string
	for _, ca := range r.tooled.cas {
		keys = append(keys, w.kind.stored(certmagic.StorageKeys.SiteMeta(ca, w.name)))
	}
	return keys
}

// show has handshakes find what there is of a name. It costs the same however many
// names there are: each is shown alone as it is read. The caller holds r.mu.
func (r *registrar) show(name string) {
	var jobs []*work
	for _, kind := range r.tooled.keys() {
		if w := r.works[want{name, kind}]; w != nil && w.pair.Load() != nil {
			jobs = append(jobs, w)
			if w.counted { // it was there, so no stranger has made it up
				w.counted = false
				r.budget.unread()
			}
		}
	}
	if len(jobs) == 0 {
		r.shown.Delete(name)
		return
	}
	r.shown.Store(name, jobs)
}

// changed hears of a key that somebody in the fleet has stored.
func (r *registrar) changed(key string) {
	r.heard.hear(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.watched[key]; ok {
		r.soon(r.works[w])
	}
	r.misses.heard(key)
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
	shown, ok := r.shown.Load(name)
	if !ok {
		return nil
	}
	jobs := shown.([]*work)
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
