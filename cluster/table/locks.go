package table

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// A Lock is held by one node, which says again and again that it does. The leader ends
// one of which it has not seen that for as long as it is leased, by its own clock and
// since its own election; nobody else's clock has a part in it.
type Lock struct {
	Name string `json:"name"`
	Node string `json:"node"`
	Life uint64 `json:"life"`
	// Nonce is the holder's name for having it this time. No two are the same: who has
	// lost a lock cannot release or renew what another has now.
	Nonce uint64 `json:"nonce"`
	// Beat is Table.LastBeat when it was taken or last renewed. No two are the same of
	// one name: a Break that is late must not meet the lock when it was taken again.
	Beat uint64 `json:"beat"`
}

// Bounds of locks.
const (
	// MaxLocks is how many there may be: one for each certificate that is being
	// obtained, of which a CA lets a few hundred be at a time.
	MaxLocks = 1024
	// MaxLockName bounds a name in octets: what is done and for which key.
	MaxLockName = MaxKey + 256
)

// Why a lock is not had.
var (
	ErrLocked    = errors.New("somebody else has the lock")
	ErrNotLocked = errors.New("the lock is held no more")
	ErrLocks     = fmt.Errorf("there are %d locks, and no more are possible: wait until some of what they are for is done", MaxLocks)
	errLockName  = fmt.Errorf("a lock has a name of at most %d octets in UTF-8, and a nonce", MaxLockName)
)

type (
	// Take takes a lock that nobody has. Said twice it is taken once.
	Take struct {
		Name  string `json:"name"`
		Node  string `json:"node"`
		Life  uint64 `json:"life"`
		Nonce uint64 `json:"nonce"`
	}
	// Renew says that a node still has locks; of those that it has lost it does
	// nothing.
	Renew struct {
		Node   string   `json:"node"`
		Life   uint64   `json:"life"`
		Nonces []uint64 `json:"nonces"`
	}
	// Drop releases a lock.
	Drop struct {
		Name  string `json:"name"`
		Nonce uint64 `json:"nonce"`
	}
	// Break is the leader's: the lock was not renewed in time.
	Break struct {
		Term  uint64 `json:"term"`
		Name  string `json:"name"`
		Nonce uint64 `json:"nonce"`
		Beat  uint64 `json:"beat"`
	}
)

func (Take) kind() string  { return "take" }
func (Renew) kind() string { return "renew" }
func (Drop) kind() string  { return "drop" }
func (Break) kind() string { return "break" }

// CheckLock says what is wrong with a lock's name. A name that is not UTF-8 would be
// another one on the wire.
func CheckLock(name string) error {
	if name == "" || len(name) > MaxLockName || !utf8.ValidString(name) {
		return errLockName
	}
	return nil
}

func (c Take) apply(t *Table, _ uint64) error {
	l, locked := t.Locks[c.Name]
	switch {
	case CheckLock(c.Name) != nil || c.Nonce == 0:
		return errLockName
	case t.counted(c.Node, c.Life) == nil:
		return ErrNotCounted
	case locked && l.Nonce == c.Nonce && l.Node == c.Node:
		return nil
	case locked:
		return fmt.Errorf("%w: %s", ErrLocked, l.Node)
	case len(t.Locks) >= MaxLocks:
		return ErrLocks
	}
	t.LastBeat++
	t.Locks[c.Name] = Lock{Name: c.Name, Node: c.Node, Life: c.Life, Nonce: c.Nonce, Beat: t.LastBeat}
	return nil
}

func (c Renew) apply(t *Table, _ uint64) error {
	if t.counted(c.Node, c.Life) == nil {
		return ErrNotCounted
	}
	if len(c.Nonces) > MaxLocks {
		return ErrLocks
	}
	held := make(map[uint64]bool, len(c.Nonces))
	for _, nonce := range c.Nonces {
		held[nonce] = true
	}
	some := false
	for name, l := range t.Locks {
		if l.Node == c.Node && held[l.Nonce] {
			l.Beat = t.LastBeat + 1
			t.Locks[name] = l
			some = true
		}
	}
	if !some {
		return ErrNotLocked
	}
	t.LastBeat++
	return nil
}

func (c Drop) apply(t *Table, _ uint64) error {
	if l, locked := t.Locks[c.Name]; !locked || l.Nonce != c.Nonce {
		return ErrNotLocked
	}
	delete(t.Locks, c.Name)
	return nil
}

func (c Break) apply(t *Table, term uint64) error {
	l, locked := t.Locks[c.Name]
	switch {
	case c.Term != term:
		return ErrTerm
	case !locked || l.Nonce != c.Nonce || l.Beat != c.Beat:
		return ErrLate
	}
	delete(t.Locks, c.Name)
	return nil
}

// unlock frees what a life that is over had locked. A node that is isolated could not
// have renewed it, and one that comes back has a new life and another nonce.
func (t *Table) unlock(node string) {
	for name, l := range t.Locks {
		if l.Node == node {
			delete(t.Locks, name)
		}
	}
}
