// Package cluster decides which back end serves a user now, and keeps him
// there.
//
// Package place says where a user belongs; here is where he is. [Single] serves a
// node that has no fleet: what it knows is in its memory and gone with it.
// [Fleet] is a node of several, see DESIGN.md. Both have the methods that callers
// need, who declare their own interface and are joined to one of the two where
// the program is wired.
//
// Laws of Single, each held by a test:
//
//   - A user is never on two back ends of a pool at once, nor on two servers that
//     had one name. While a hold of his exists every [Single.Place] answers the
//     same back end, whatever changed. Between pools nothing is promised.
//   - Kick before move. Only a back end that can serve no longer (down, or gone
//     from the configuration) loses its users, and one who is live there is
//     placed anew when his last hold there is released, not before.
//   - With local storage nobody is moved: the answer is the user's own back
//     end or an error.
//   - The table of users holds those with a hold and nobody else: failed logins
//     with random names leave nothing behind.
//   - Nothing waits under the lock, and no callback runs under it.
package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"usher.example/cluster/place"
)

// Defaults and bounds.
const (
	// DefaultMoveWait is how long a login waits for the user's old sessions to
	// end. They are closed by force, so it is a matter of milliseconds; a
	// client that waits longer would rather have an answer.
	DefaultMoveWait = 5 * time.Second
	// DefaultMaxWaiting bounds the logins that wait at one time. A back end
	// with 100,000 users that dies sends them all back within a minute; each
	// waits some milliseconds.
	DefaultMaxWaiting = 4096
	// kickAgain is the time between two attempts to close a user's sessions
	// while a login of his waits. The first can miss a session that took its
	// hold before its back end went down and was not yet in the session table.
	kickAgain = 250 * time.Millisecond
)

// Options of a [Single].
type Options struct {
	// Names is how user names are normalised. It is fixed for the life of a
	// Single: under other rules a live user could be another one. The zero
	// value changes nothing.
	Names place.Names
	// MapKey is the secret under which users are hashed. A change moves users.
	// Empty is allowed, see [place.NewKeyer].
	MapKey []byte
	// Kick closes sessions so that a user can be moved: all sessions of the
	// pool on the back end, or if user is not empty only his (a normalised
	// name). Servers that had the back end's name before are meant as well. It
	// starts the closing and returns without waiting for the end; each session's
	// hold is released when its connection to the back end is closed. It may
	// find nothing, may be called again for the same, and from several
	// goroutines. It is never called under a lock. Nil: nobody is
	// closed, and a move waits until the user's sessions end by themselves.
	Kick func(pool, user, backend string)
	// MoveWait bounds the wait of one login for the user's old sessions to
	// end. Zero: DefaultMoveWait.
	MoveWait time.Duration
	// MaxWaiting bounds the number of logins that wait; the ones above it fail
	// at once. Zero: DefaultMaxWaiting.
	MaxWaiting int
}

// Stats counts what a Single did.
type Stats struct {
	Stays   atomic.Uint64 // users placed where they were live
	Pins    atomic.Uint64 // placed by a pin
	Homes   atomic.Uint64 // placed by the hash
	Moves   atomic.Uint64 // of these, after a wait for sessions elsewhere to end
	Refused atomic.Uint64 // no usable back end
	Expired atomic.Uint64 // gave up waiting, or were too many
	Kicks   atomic.Uint64 // calls of Options.Kick
}

// Single is the placer of a fleet of one node. Its methods are safe for
// concurrent use.
type Single struct {
	names      place.Names
	keyer      *place.Keyer
	kick       func(pool, user, backend string)
	moveWait   time.Duration
	maxWaiting int
	stats      Stats

	mu      sync.Mutex // guards all below and what it leads to; never held while waiting or calling out
	pools   map[string]*pool
	users   map[place.Key]user // those with a hold
	holds   holds
	moves   map[place.Key]*move // of users that a login waits for
	waiting int                 // logins that wait for a move
}

// A user is live: he has at least one hold. He lies in the map itself.
type user struct {
	backend *backend
	holds   int
}

// A move is a live user who has to leave his back end.
type move struct {
	left   chan struct{} // closed with his last hold
	kicked time.Time     // when his sessions were last closed
}

// NewSingle returns a Single without pools; [Single.Update] brings them.
func NewSingle(o Options) *Single {
	s := &Single{
		names:      o.Names,
		keyer:      place.NewKeyer(o.MapKey),
		kick:       o.Kick,
		moveWait:   o.MoveWait,
		maxWaiting: o.MaxWaiting,
		pools:      make(map[string]*pool),
		users:      make(map[place.Key]user),
		moves:      make(map[place.Key]*move),
	}
	if s.kick == nil {
		s.kick = func(string, string, string) {}
	}
	if s.moveWait == 0 {
		s.moveWait = DefaultMoveWait
	}
	if s.maxWaiting == 0 {
		s.maxWaiting = DefaultMaxWaiting
	}
	return s
}

// Normal returns the form of a user's name by which he is placed, pinned and
// kicked.
func (s *Single) Normal(user string) string { return s.names.Normal(user) }

// Stats returns the counters, which go on counting.
func (s *Single) Stats() *Stats { return &s.stats }
