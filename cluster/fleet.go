// Package cluster decides which back end serves a user now, and keeps him there.
//
// Package place says where a user belongs; here is where he is. A [Fleet] is this
// node's part in deciding that together with others, or by itself: a node that has
// no others is a fleet of one, by the same rules and the same code. DESIGN.md has
// the drawing, docs/fleet.md the protocol.
//
// Laws, each held by a test or by the simulation of package sim:
//
//   - A user is never on two back ends of a pool at once, nor on two servers that
//     had one name. Between pools nothing is promised.
//   - Kick before move: who has to leave a back end is closed there first, and
//     kick_delay is waited for.
//   - With local storage nobody is moved by himself: the answer is the user's own
//     back end or an error.
//   - A login on a known place asks nobody and writes nothing; failed logins with
//     random names leave nothing behind.
//   - Nothing waits under the lock, and no callback runs under it.
package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// A Local is what the fleet asks of this node. Its methods are called by several
// goroutines, never under a lock, and do not wait for connections to end.
type Local interface {
	// Leave closes the connections of some holds, which are to a back end of a pool;
	// logins on their way ask for a place again.
	Leave(pool, backend string, holds []uint64)
	// Kick ends the sessions of a user and returns their number.
	Kick(user, reason string) int
	// Sessions lists what sessions a user has here, as JSON.
	Sessions(user string) ([]byte, error)
	// Gate tells a strict node until when it may forward, by CLOCK_BOOTTIME in
	// nanoseconds; 0 is not at all.
	Gate(until int64)
}

// FleetOptions are what a node of a fleet is made of.
type FleetOptions struct {
	// Fleet and Node are names. A Fleet without a name is of one node, which keeps the
	// name that it had at first: no port is opened, and the rest of this block is not
	// looked at.
	Fleet, Node string
	Secrets     []Secret
	Bind        string   // host:port
	Advertise   string   // empty: Bind
	Join        []string // names or addresses of other nodes
	Voters      []string // names of 1, 3 or 5 nodes
	Witness     bool     // votes and serves nobody

	// State is the directory that makes the node what it is. Empty, in a Fleet without a
	// name: all of that is in memory, and gone with the process.
	State string
	// Strict: refuse while isolated.
	Strict bool
	// Names is how users' names are normalised, until the fleet says otherwise.
	Names place.Names
	// Retention, KickDelay and Hold: zero for the defaults, negative for none.
	Retention, KickDelay, Hold time.Duration
	// Flush is a program and its arguments that the leader runs for a user who is
	// moved, after his connections are closed and before he is let in elsewhere. Empty
	// for none.
	Flush []string
	// MaxHeld bounds the logins that wait. Zero: DefaultMaxWaiting.
	MaxHeld int

	Local Local
	// Events answers what another node asks about this one's events; both are JSON. Its
	// answer has MaxAnswer octets at most. Nil: there are none.
	Events func(question json.RawMessage) (answer json.RawMessage, err error)
	// Hearsay is told what other nodes know of failed logins. Nil: nothing is kept.
	Hearsay Hearsay
	// Prober is told what this node has to probe. Nil: it probes all.
	Prober Prober
	Log    *slog.Logger
}

// Defaults of FleetOptions.
const (
	DefaultRetention = 15 * time.Minute
	DefaultKickDelay = 2 * time.Second
	DefaultHold      = 5 * time.Second
	// DefaultMaxWaiting bounds the logins that wait at one time. A back end with
	// 100,000 users that dies sends them all back within a minute; each waits for the
	// kick delay at most.
	DefaultMaxWaiting = 4096
)

// A Fleet is this node's place in a fleet. Open makes it, Run has it live, Close
// ends it. Its methods are safe for concurrent use.
type Fleet struct {
	o       FleetOptions
	log     *slog.Logger
	dir     *directory
	port    *port
	gossip  *memberlist.Memberlist
	telling sync.Mutex // see tell
	raft    *raft.Raft
	wal     *wal.WAL
	meta    *metadb.BoltMetaDB         // of the log
	net     interface{ Close() error } // raft's transport
	self    raft.Transport             // the same of an only node; else nil
	api     *http.Client
	server  *http.Server
	secrets atomic.Pointer[[]Secret]
	stamped atomic.Pointer[stamp]
	warned  time.Time           // of nodes of other fleets; the manager's own
	ring    *memberlist.Keyring // gossip's keys, by the secrets
	own     ownSealer
	sealed  atomic.Pointer[sealing] // the last that was asked for
	fresher fresher
	locks   locks
	heard   hearsay
	// resealing has an entry when there may be values to be sealed anew.
	resealing chan struct{}
	// replayed: the table has been looked at with all entries of the log.
	replayed atomic.Bool
	// pinsMark names all pins of this node's files, for who must not wait for mu.
	pinsMark atomic.Pointer[string]
	keyer    atomic.Pointer[keyer]
	stats    FleetStats
	leads    chan bool
	stirred  atomic.Int64                           // when something last happened, see pace
	electing atomic.Bool                            // of an only node, see elect
	topics   sync.Map                               // what Answer was told, by topic
	shown    atomic.Pointer[func() ([]byte, error)] // see Present
	nudges   atomic.Int64                           // orders since the last empty entry

	mu        sync.Mutex // guards what follows; never held while waiting
	table     *table.Table
	node      *member.Node
	leader    *lead.Leader // nil unless we lead
	changed   chan struct{}
	held      int
	pools     []Pool                       // as configured here
	laid      *Reading                     // what pools were made with; nil: nothing
	here      map[string]map[string]string // addresses of back ends as configured here, by pool and name; nil before
	led       int64                        // since when we lead
	unread    bool                         // alone, and started with a log that is ahead of the table: read when we lead
	described string                       // pools, but for the pins
	defined   string                       // what of that a leader has told the fleet
	health    map[string]map[string]bool
	sights    map[site]*sight
	untold    bool                // something of health that is not reported yet
	extra     map[string]reported // of all nodes, while we lead
	fatal     error
	leaving   bool
	reseal    bool // the map key is sealed with a secret that is on its way out
	untaken   bool // nobody took the last report
	drained   bool // by an administrator
	tickets   ticketNews
	unkeyed   error // why the map key cannot be opened
	filed     filed // pins of files
	leased    bool  // at the last look
	// lostOnce: the lease has been lost, so that it is news when it is back.
	lostOnce bool
	views    map[string]uint64 // epochs of pools as they were said, while we lead; nil before
	viewed   viewCount
	owing    []string // nodes that were named, while we lead
	applied  uint64
	lost     map[string]int // values that cannot be opened here, by what they are sealed with
	// What was said last about configurations that do not agree: here, of other nodes
	// while we lead, and of what is in the way of all.
	differed, disagreed, problem string

	alone     int64 // since when most back ends fail for this node alone; 0 if they do not
	saidAlone bool  // for so long that it is not ready

	unkept     uint64 // a life that is not on disk yet; the loop's own, as is what follows
	complained int64
	joined     int64 // when Join was last said
	watched    int64 // when it was last settled who probes what
	rewatched  int64 // when all of that was last said
	saidState  bool  // gossip knows that we have a log; the manager's own
	closed     bool  // the map key could not be opened a second ago, and that was logged; the manager's own
	saidClosed bool

	rotating sync.Mutex // of SetSecrets, which may take a second

	peersMu sync.Mutex // guards peers; memberlist calls with it, so nothing is done under it
	peers   map[string]peer

	told     chan struct{} // the configuration is another
	flushing chan struct{} // has an entry for each flush that runs
	away     chan struct{} // has an entry for each user who is brought off a removed back end
	pinning  chan struct{} // pins of files may have to be brought
	poke     chan struct{}
	outbox   chan table.Command
	grants   chan table.Command
	stop     context.CancelFunc
	ctx      context.Context
	running  sync.WaitGroup
	going    sync.Mutex     // orders goes and the end of ctx
	serving  sync.WaitGroup // the API, until the port is shut
}

// A keyer is how users' names become keys, as the fleet has it.
type keyer struct {
	number int
	mapKey string // sealed
	made   int    // table.Settings.Keys that it makes keys of
	names  place.Names
	keys   *place.Keyer
}

// Stats counts what a Fleet did with logins.
type Stats struct {
	Stays   atomic.Uint64 // users placed where they were live
	Pins    atomic.Uint64 // placed by a pin
	Homes   atomic.Uint64 // placed by the hash
	Moves   atomic.Uint64 // of these, after a wait for a change of the view or a move
	Refused atomic.Uint64 // no usable back end
	Expired atomic.Uint64 // gave up waiting, or were too many
	Kicks   atomic.Uint64 // orders to close sessions
}

// FleetStats counts what a Fleet did.
type FleetStats struct {
	Stats
	Held      atomic.Uint64 // logins that had to wait
	Unflushed atomic.Uint64 // moves whose flush has failed
	Isolated  atomic.Uint64 // times that the lease was lost
}

var (
	// ErrHeld: the user's place is changing, and the login waited in vain.
	ErrHeld = errors.New("user's place is changing")
	// ErrIsolated: the node has lost its fleet and may place nobody.
	ErrIsolated = errors.New("the node is isolated from its fleet")
	// ErrNoLeader: nobody leads the fleet now.
	ErrNoLeader = errors.New("the fleet has no leader: a majority of its voters cannot be reached")
)

// OpenFleet opens the state directory and the port. The fleet is joined by Run.
func OpenFleet(o FleetOptions) (*Fleet, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	for d, def := range map[*time.Duration]time.Duration{&o.Retention: DefaultRetention, &o.KickDelay: DefaultKickDelay, &o.Hold: DefaultHold} {
		if *d == 0 {
			*d = def
		}
		*d = max(*d, 0)
	}
	if o.MaxHeld == 0 {
		o.MaxHeld = DefaultMaxWaiting
	}
	if o.Fleet != "" && len(o.Secrets) == 0 {
		return nil, errNoSecret
	}
	if o.Node == "" {
		o.Node = "node"
	}
	dir, err := openDirectory(o.State)
	if err != nil {
		return nil, err
	}
	if o.Fleet == "" { // nobody else could be missed, and the name is what it was at first
		was, err := dir.name()
		if err != nil {
			dir.close()
			return nil, err
		}
		o.Node = cmp.Or(was, o.Node)
		o.Voters, o.Strict, o.Witness = []string{o.Node}, false, false
	}
	stamped, err := o.belong(dir)
	if err != nil {
		dir.close()
		return nil, err
	}
	f := &Fleet{
		dir: dir,
		o:   o, log: o.Log, table: table.New(), changed: make(chan struct{}), health: make(map[string]map[string]bool),
		sights: make(map[site]*sight), extra: make(map[string]reported), peers: make(map[string]peer), told: make(chan struct{}, 1), pinning: make(chan struct{}, 1), flushing: make(chan struct{}, maxFlushes), away: make(chan struct{}, maxAway), resealing: make(chan struct{}, 1), poke: make(chan struct{}, 1), outbox: make(chan table.Command, 1024), grants: make(chan table.Command, 1), leads: make(chan bool, 16),
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.secrets.Store(&o.Secrets)
	f.stamped.Store(&stamped)
	life, err := f.dir.life()
	if err == nil {
		var own []Secret
		own, err = dir.readSealer()
		f.own.key.Store(&own)
	}
	if err == nil {
		f.node = member.New(member.Options{
			Name: o.Node, Dir: f.dir.id, Strict: o.Strict, Retention: int64(o.Retention), KickDelay: int64(o.KickDelay),
			Config: o.config(),
		}, f.table, life)
		err = f.open()
	}
	if err != nil {
		f.shut()
		return nil, err
	}
	return f, nil
}

// open opens port, log and gossip.
func (f *Fleet) open() error {
	if f.o.Fleet == "" {
		return f.openRaft(nil)
	}
	id, err := newIdentity(f.o.Node, f.o.Secrets)
	if err != nil {
		return err
	}
	if f.port, err = openPort(f.o.Bind, f.o.Advertise, id, f.log); err != nil {
		return err
	}
	if err := f.openRaft(f.port); err != nil {
		return err
	}
	f.serveAPI()
	return f.openGossip()
}

// Run lives until ctx is done or Close is called.
func (f *Fleet) Run(ctx context.Context) {
	for range deliverers {
		f.running.Go(func() { f.deliver(f.outbox) })
	}
	f.running.Go(func() { f.deliver(f.grants) })
	f.running.Go(f.elect)
	f.running.Go(f.keep)
	f.running.Go(f.manage)
	f.running.Go(f.gather)
	f.running.Go(f.keepPins)
	f.running.Go(f.keepSealed)
	f.running.Go(f.keepLocks)
	select {
	case <-ctx.Done():
	case <-f.ctx.Done():
	}
	f.rest()
}

// farewellTime bounds the last words of a node that is being stopped.
const farewellTime = 1 * time.Second

// farewell hands on what others would wait for: the lead, and the word that this
// life is over, so that its lease need not run out. Sessions are closed by now.
func (f *Fleet) farewell() {
	f.mu.Lock()
	leaving := f.leaving && !f.o.Witness
	f.mu.Unlock()
	if f.raft == nil || f.port == nil || f.ctx.Err() != nil {
		return
	}
	if f.raft.State() == raft.Leader && len(f.o.Voters) > 1 {
		_ = f.raft.LeadershipTransfer().Error() // else they elect somebody by themselves
	}
	if !leaving {
		return
	}
	ctx, cancel := context.WithTimeout(f.ctx, farewellTime)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if address, _ := f.raft.LeaderWithID(); address != "" && string(address) != f.address() {
			f.mu.Lock()
			m := message{Report: f.node.Report(bootTime(), true)}
			f.mu.Unlock()
			if f.ask(ctx, string(address), "/v1/report", m, nil) == nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// rest waits until nothing runs any more. A leader who is heard and cannot commit, as
// others cannot write what it says, waits for that until raft ends; a snapshot at the
// end is not worth that.
func (f *Fleet) rest() {
	f.going.Lock()
	f.stop()
	f.going.Unlock()
	rested := make(chan struct{})
	go func() { f.running.Wait(); close(rested) }() // is waited for
	select {
	case <-rested:
	case <-time.After(farewellTime):
		if f.raft != nil {
			_ = f.raft.Shutdown().Error()
		}
		<-rested
	}
}

// Close ends the node's part. A clean end takes a snapshot, so that the next start
// has a table without asking anybody.
func (f *Fleet) Close() {
	f.farewell()
	f.rest()
	if f.raft != nil {
		if f.raft.AppliedIndex() > 0 {
			if err := f.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
				f.log.Warn("no snapshot at the end", "err", err)
			}
		}
	}
	if f.gossip != nil {
		_ = f.gossip.Leave(time.Second)
	}
	f.shut()
}

// Abandon ends the node's part as the death of its process would: it takes leave of
// nobody, hands nothing over and takes no snapshot. It is for trials.
func (f *Fleet) Abandon() {
	f.rest()
	f.shut()
}

// shut closes what is open.
func (f *Fleet) shut() {
	if f.gossip != nil {
		_ = f.gossip.Shutdown()
	}
	if f.raft != nil {
		_ = f.raft.Shutdown().Error()
	}
	if f.server != nil {
		_ = f.server.Close()
		f.serving.Wait()
	}
	if f.net != nil {
		_ = f.net.Close()
	}
	if f.wal != nil {
		_ = f.wal.Close()
	}
	if f.meta != nil {
		_ = f.meta.Close()
	}
	if f.port != nil {
		f.port.close()
	}
	if f.dir != nil {
		f.dir.close()
	}
}

// Normal returns the form of a user's name by which he is placed, pinned and
// kicked.
func (f *Fleet) Normal(user string) string {
	if k := f.keyer.Load(); k != nil {
		return k.names.Normal(user)
	}
	return f.o.Names.Normal(user)
}

// Stats returns the counters, which go on counting.
func (f *Fleet) Stats() *Stats { return &f.stats.Stats }

// Leave says that the node is being stopped: it takes no logins any more, and when
// its connections are closed nobody waits for it.
func (f *Fleet) Leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaving = true
	f.news() // logins that wait need not do so any more
}

// wake has the loop look at once, and often for a while: what comes of it may take
// some looks.
func (f *Fleet) wake() {
	f.stirred.Store(bootTime())
	f.lookNow()
}

func (f *Fleet) lookNow() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// news wakes everybody who waits for a change. It is called with mu held.
func (f *Fleet) news() {
	close(f.changed)
	f.changed = make(chan struct{})
	f.wake()
}

// voter says whether a node of that name is to vote.
func (f *Fleet) voter(name string) bool { return slices.Contains(f.o.Voters, name) }

// serverID is a node's name in raft: one that lost its directory has forgotten its
// votes, and is another one.
func serverID(node, dir string) raft.ServerID { return raft.ServerID(fmt.Sprintf("%s/%s", node, dir)) }

// tellManager has the leader look at once whether all is as it should be.
func (f *Fleet) tellManager() {
	select {
	case f.told <- struct{}{}:
	default:
	}
}
