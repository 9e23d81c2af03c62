// Package place says which back end a mail user belongs to.
//
// A user's home is a weighted rendezvous hash of his key over the back ends of
// a [View]; a pin, an administrator's explicit choice, comes before it. The
// package holds what every node of a fleet must answer alike: the hash, the
// rule, and the form of a name ([Names]).
//
// It does no I/O, reads no clock, keeps no state and takes no lock.
//
// Laws, each held by a test:
//
//   - The answer depends on the map key, the pool, the normalised name and the
//     names, weights and states of the back ends; never on their order or ids.
//   - Integers only: every CPU, compiler and release gives the same place.
//     testdata/golden.txt is frozen; a change of it moves the users of every
//     site and is a change of [Version].
//   - A back end that appears takes users, one that goes gives its own away;
//     nobody moves between two that stay as they were.
//   - Finding a home allocates nothing.
package place

import "strconv"

// Version numbers the placement function. Two nodes with different versions
// must not place users of one pool.
const Version = 1

// What decided a place. The words appear in logs and in answers to
// administrators; they do not change.
const (
	ByStay = "stay" // he is live there
	ByPin  = "pin"  // an administrator chose it
	ByHome = "home" // the hash
)

// Storage says which back ends can serve a user at all.
type Storage uint8

const (
	// Shared storage: every back end of the pool can serve every user.
	Shared Storage = iota
	// Local storage: a user's mail is on his own back end and nowhere else.
	Local
)

// String returns the word used in the configuration.
func (s Storage) String() string {
	switch s {
	case Shared:
		return "shared"
	case Local:
		return "local"
	}
	return "storage(" + strconv.Itoa(int(s)) + ")"
}

// State is what a view knows of a back end: health and admin state in one word.
type State uint8

const (
	// Up takes users.
	Up State = iota
	// Drain keeps the users that it has and takes no new ones.
	Drain
	// Down serves nobody.
	Down
)

// String returns "up", "drain" or "down".
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Drain:
		return "drain"
	case Down:
		return "down"
	}
	return "state(" + strconv.Itoa(int(s)) + ")"
}

// Base returns where a user belongs, and [ByPin] or [ByHome]. The pin is the
// name of a back end, or empty when the user has none.
//
// With shared storage the pin counts while its back end is up, otherwise the
// home over the back ends that are up does; ok is false when none is.
//
// With local storage only the user's own back end may serve him: the pinned
// one, or without a pin the home over all back ends, whatever their states. It
// is returned even when it is down, with ok false, so that the answer can name
// it. A pin to a back end that the view does not know gives no place: falling
// back would show the user an empty mailbox. Drain has no effect there, for
// nobody else could serve him.
func Base(v View, pin string, k Key) (b Backend, why string, ok bool) {
	return BaseTraced(v, pin, k, nil)
}

// BaseTraced is Base, and notes in t what each rule said.
func BaseTraced(v View, pin string, k Key, t *Trace) (b Backend, why string, ok bool) {
	if pin == "" {
		t.Note(ByPin, Passed, 0, "", "he has no pin")
	} else {
		b, known := v.Find(pin)
		switch {
		case v.storage == Local && !known:
			t.Note(ByPin, Refuses, 0, pin, "the pool has no such back end, and with local storage nobody else has his mail")
			return Backend{}, ByPin, false
		case v.storage == Local && b.State == Down:
			t.Note(ByPin, Refuses, b.ID, pin, "it is down, and with local storage nobody else has his mail")
			return b, ByPin, false
		case v.storage == Local:
			t.Note(ByPin, Matched, b.ID, pin, "he is pinned there")
			return b, ByPin, true
		case known && b.State == Up:
			t.Note(ByPin, Matched, b.ID, pin, "he is pinned there")
			return b, ByPin, true
		case !known:
			t.Note(ByPin, Passed, 0, pin, "he is pinned there, and the pool has no such back end now")
		default:
			t.Note(ByPin, Passed, b.ID, pin, "he is pinned there, and it takes no new users now")
		}
	}
	b, found := Home(k, v)
	ok = found && (v.storage == Shared || b.State != Down)
	switch {
	case !found:
		t.Note(ByHome, Refuses, 0, "", "no back end may be a home")
	case !ok:
		t.Note(ByHome, Refuses, b.ID, b.Name, "it is down, and with local storage nobody else has his mail")
	default:
		t.Note(ByHome, Matched, b.ID, b.Name, "the hash of his name says so")
	}
	return b, ByHome, ok
}
