// Package sim is the fleet on a simulated network and clock: the real table, the
// real part of a node and the real part of a leader, with everything around them
// made up: raft, messages, clocks, state directories, clients, back ends. It
// checks what the fleet promises, a user is never live on two back ends at once,
// and shows that each [rule.Rule] is needed for it.
//
// A [Plan] is what happens to a fleet, drawn from a seed; [Run] lets it happen.
// The same plan gives the same run, to the last step. [Shrink] takes from a plan
// what its failure does not need.
//
// Laws: no wall clock and no other randomness than the seed's; what the real
// packages are told is no more than what the runtime could tell them; what is
// made up is at least as bad as what the design says can happen.
package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/rule"
	"usher.example/cluster/table"
)

const (
	ms     = member.Millisecond
	second = member.Second
	// begin is when a run begins: clocks never show zero.
	begin = 1000 * second
)

// Options of a run.
type Options struct {
	Broken rule.Broken
	// Trace gets a line for whatever happens; nil is none.
	Trace io.Writer
	// Twice: only ErrTwice is looked for among what is wrong with leases.
	Twice bool
}

// A Result is what came of a run.
type Result struct {
	Steps   int
	Entries int // of the log
	Logins  int // that sent credentials
	Live    int // times that a live session was held against its user's others
	Stays   int // that were accepted
	Expired int // lives
	Owed    int // of these, for what they owed
	Changes int // of view
	Moves   int
	Loads   int // of snapshots
	Renames int // changes of users' keys
	Lists   int // changes that brought pins of a file
	Flushes int
	Turns   int // of keys of session tickets
	Alone   int // looks of a node that needs no grants
	Stores  int // of values
	Locks   int // that were had
	Breaks  int // of these, that were not renewed
}

// Failures. ErrTwice is the promise broken.
var (
	ErrTwice   = errors.New("a user is live on two back ends")
	ErrLease   = errors.New("a life ends that has a lease")
	ErrSettle  = errors.New("the fleet does not settle")
	ErrReplica = errors.New("tables differ")
	ErrPin     = errors.New("a pin is lost")
	ErrLeak    = errors.New("something is left over")
	ErrFlush   = errors.New("a user is placed before caches are flushed")
	ErrLock    = errors.New("a lock ends that is held")
	ErrTicket  = errors.New("tickets are sealed that a node cannot open")
	ErrFatal   = errors.New("a node cannot go on")
)

// A world is a fleet and all around it.
type world struct {
	o    Options
	plan *Plan
	rng  *rand.Rand
	now  int64
	queue
	calm  bool // all faults are over
	hosts []*host
	users []*user
	raft
	net
	config []table.Defined
	sick   map[string]bool // pool/name: back ends that do not answer
	pins   map[pin]string
	file   int           // the number of the file with pins, 0 for none
	coming []filed       // pins that a change brings
	admins map[pin]bool  // whose pins are an administrator's
	wants  member.Config // what configurations say
	// keyers and manners are of each table.Settings.Keys.
	keyers  []*place.Keyer
	manners []place.Names
	flushed map[uint64]bool // moves
	grips   map[string]grip // locks
	stored  map[string]bool // values that were
	quiet   bool            // nothing happens any more: look seldom
	Result
	err error
}

// A host is a machine with a node on it.
type host struct {
	w     *world
	index int
	name  string
	rng   *rand.Rand
	clock

	up, paused bool
	gen        int      // of the process
	later      []func() // what arrived while it was stopped
	slowTo     int64    // until when it applies late
	stuckTo    int64    // until when it cannot close

	witness bool
	says    member.Config // its configuration

	// The state directory.
	dir    string
	life   uint64
	saved  []byte // a snapshot, nil if none
	index0 int    // of the snapshot
	have   int    // entries of the log that it has

	// The process.
	t         *table.Table
	n         *member.Node
	applied   int
	committed int // entries that it knows to be committed
	leader
	hint     int // who leads, as far as it knows; -1
	hintTerm uint64
	reportAt int64
	joinAt   int64
	leaving  bool
	sessions []*session
	waiting  []*login
	grabs    []*grab
	applying bool
	ruledAt  int64
}

// Run lets a plan happen, and returns what the fleet did wrong.
func Run(p *Plan, o Options) (Result, error) {
	w := &world{
		o: o, plan: p, rng: stream(p.Seed, 0), now: begin, sick: make(map[string]bool), pins: make(map[pin]string), admins: make(map[pin]bool),
		manners: manners[:1:1], flushed: make(map[uint64]bool), grips: make(map[string]grip), stored: make(map[string]bool),
	}
	w.raft.init(w)
	for i := range p.Users {
		w.users = append(w.users, &user{name: fmt.Sprint(i), pool: p.pool(i)})
	}
	w.wants = w.says(0)
	w.config = p.configuration(0)
	for i := range p.Nodes {
		h := &host{w: w, index: i, name: fmt.Sprintf("n%d", i), rng: stream(p.Seed, uint64(i)+1), hint: -1, dir: fmt.Sprintf("n%d.0", i), says: w.wants}
		h.witness = p.Witness && i == p.Voters-1
		h.clock = newClock(h.rng)
		w.hosts = append(w.hosts, h)
	}
	for i, h := range w.hosts {
		if i >= len(p.Starts) || p.Starts[i] == 0 {
			h.start()
			continue
		}
		w.at(begin+p.Starts[i], func() {
			if !h.up && !w.calm {
				h.start()
			}
		})
	}
	for i := range p.Actions {
		a := &p.Actions[i]
		w.at(begin+a.At, func() { w.act(a) })
	}
	w.every(raftEvery, w.raftTick)
	w.loop(begin + p.Length)
	if w.err == nil {
		w.settle()
	}
	return w.Result, w.err
}

// loop runs what happens until a time.
func (w *world) loop(until int64) {
	for w.err == nil && len(w.events) > 0 && w.events[0].at <= until {
		e := w.pop()
		w.now = e.at
		w.Steps++
		e.do()
	}
	w.now = max(w.now, until)
}

// every does something again and again.
func (w *world) every(d int64, do func()) {
	w.at(w.now+d, func() {
		do()
		w.every(d, do)
	})
}

func (w *world) fail(err error, format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: at %s: %s", err, seconds(w.now-begin), fmt.Sprintf(format, args...))
		w.trace("FAIL %v", w.err)
	}
}

func (w *world) trace(format string, args ...any) {
	if w.o.Trace != nil {
		fmt.Fprintf(w.o.Trace, "%9s "+format+"\n", append([]any{seconds(w.now - begin)}, args...)...)
	}
}

func seconds(d int64) string { return fmt.Sprintf("%d.%03d", d/second, d%second/ms) }

func stream(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

// save writes a table.
func save(t *table.Table) []byte {
	var b bytes.Buffer
	if err := t.Save(&b); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// Add adds what came of another run.
func (r *Result) Add(o Result) {
	r.Steps += o.Steps
	r.Entries += o.Entries
	r.Logins += o.Logins
	r.Live += o.Live
	r.Stays += o.Stays
	r.Expired += o.Expired
	r.Owed += o.Owed
	r.Changes += o.Changes
	r.Moves += o.Moves
	r.Loads += o.Loads
	r.Renames += o.Renames
	r.Lists += o.Lists
	r.Flushes += o.Flushes
	r.Turns += o.Turns
	r.Alone += o.Alone
	r.Stores += o.Stores
	r.Locks += o.Locks
	r.Breaks += o.Breaks
}
