package table

import (
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Value is what is kept under a key: certificates and what belongs to them. The
// table has it sealed, and never learns what it says.
type Value struct {
	// Number is Table.LastValue when it was stored. Sealing it anew leaves it.
	Number uint64 `json:"number"`
	// Modified is when it was stored, in Unix nanoseconds of who did.
	Modified int64 `json:"modified"`
	// By names the secret that it is sealed with, without telling it.
	By string `json:"by"`
	// Sealed is not to be changed: copies of a table share it.
	Sealed []byte `json:"sealed"`
}

// Bounds of values.
const (
	// MaxKey bounds a key in octets: ACME's longest name a domain of 253 octets twice,
	// and the CA.
	MaxKey = 1024
	// MaxDepth is how many names a key may be made of: ACME's have six at most. Each
	// directory costs memory.
	MaxDepth = 16
	// MaxValue bounds a sealed value in octets. The longest chain for a hundred names
	// has a tenth of it, and in the base64 of JSON it stays below MaxCommand.
	MaxValue = 256 << 10
	// MaxValues bounds all of them together, with valueCost for each. Every node has
	// them in memory, and each snapshot has them; it is room for some 8,000
	// certificates with their keys.
	MaxValues = 64 << 20
	// valueCost is what a value takes besides its octets and its key's, about: its places
	// in two maps, and in copies of them. So there are some hundred thousand at most, as
	// to copy them for a snapshot holds up logins.
	valueCost = 512
	// maxBy bounds the name of a secret.
	maxBy = 64
	// removedSlots is how finely removals are remembered: by single keys that would
	// grow, and by one number each removal would make every Put late that is on its way.
	removedSlots = 256
)

// Why a value is not taken.
var (
	ErrKey      = errors.New("that is no key")
	ErrTooLarge = fmt.Errorf("a value has at most %d octets", MaxValue)
	ErrFull     = fmt.Errorf("the table is full: its values have at most %d octets together; delete what is needed no more, such as certificates of names that nobody asks for", MaxValues)
	ErrBelow    = errors.New("a key cannot have a value and be the beginning of other keys")
)

// Values are all values by key. A key is made of names with slashes between them; what
// other keys begin with, up to a slash, is a directory, and is there as long as they
// are. The zero value has none.
type Values struct {
	at     map[string]Value
	below  map[string]int // directories: how many values they have, at any depth
	octets int
}

// CheckKey says what is wrong with a key. It is strict: the same key must mean the
// same to every reader.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: it has %d octets, at most %d are possible", ErrKey, len(key), MaxKey)
	case !utf8.ValidString(key):
		return fmt.Errorf("%w: %q is not UTF-8", ErrKey, key)
	case strings.Count(key, "/") >= MaxDepth:
		return fmt.Errorf("%w: %q has more than %d names", ErrKey, key, MaxDepth)
	}
	for name := range strings.SplitSeq(key, "/") {
		switch {
		case name == "":
			return fmt.Errorf("%w: %q begins or ends with a slash, or has two together", ErrKey, key)
		case name == "." || name == "..":
			return fmt.Errorf("%w: %q has the name %q", ErrKey, key, name)
		case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Errorf("%w: %q has a control character", ErrKey, key)
		}
	}
	return nil
}

// dirs yields the directories that a key is in, the nearest first.
func dirs(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			i := strings.LastIndexByte(key, '/')
			if i < 0 {
				return
			}
			if key = key[:i]; !yield(key) {
				return
			}
		}
	}
}

// removedOf says where the removal of a key is remembered: by FNV-1a, as all nodes have
// to agree.
func removedOf(key string) uint8 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return uint8(h.Sum32())
}

func cost(key string, v Value) int { return len(key) + len(v.Sealed) + valueCost }

// Find returns the value of a key.
func (s *Values) Find(key string) (Value, bool) {
	v, ok := s.at[key]
	return v, ok
}

// Dir says whether a key is a directory.
func (s *Values) Dir(key string) bool { return s.below[key] > 0 }

// Len is their number, and Octets what counts against MaxValues.
func (s *Values) Len() int { return len(s.at) }

// Octets is as Len.
func (s *Values) Octets() int { return s.octets }

// Any yields them in no order.
func (s *Values) Any() iter.Seq2[string, Value] { return maps.All(s.at) }

// All yields them in order of the keys.
func (s *Values) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, key := range slices.Sorted(maps.Keys(s.at)) {
			if !yield(key, s.at[key]) {
				return
			}
		}
	}
}

// List returns the keys in a directory, sorted: what is directly in it, directories
// too, and if it is recursive what is in those. The empty one has all.
func (s *Values) List(dir string, recursive bool) []string {
	prefix := dir + "/"
	if dir == "" {
		prefix = ""
	}
	var list []string
	add := func(key string) {
		if rest, ok := strings.CutPrefix(key, prefix); ok && (recursive || !strings.Contains(rest, "/")) {
			list = append(list, key)
		}
	}
	for key := range s.at {
		add(key)
	}
	for key := range s.below {
		add(key)
	}
	slices.Sort(list)
	return list
}

// put stores a value. It has been checked.
func (s *Values) put(key string, v Value) {
	if s.at == nil {
		s.at, s.below = make(map[string]Value), make(map[string]int)
	}
	if before, ok := s.at[key]; ok {
		s.octets -= cost(key, before)
	} else {
		for d := range dirs(key) {
			s.below[d]++
		}
	}
	s.at[key] = v
	s.octets += cost(key, v)
}

func (s *Values) remove(key string) {
	s.octets -= cost(key, s.at[key])
	delete(s.at, key)
	for d := range dirs(key) {
		if s.below[d]--; s.below[d] == 0 {
			delete(s.below, d)
		}
	}
}

// check says why a value cannot be stored under a key.
func (s *Values) check(key string, v Value) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	switch {
	case len(v.Sealed) > MaxValue:
		return fmt.Errorf("%w: %s has %d", ErrTooLarge, key, len(v.Sealed))
	case len(v.By) > maxBy || !utf8.ValidString(v.By):
		return fmt.Errorf("%s: sealed by %q", key, v.By)
	case s.Dir(key):
		return fmt.Errorf("%w: there are keys below %s", ErrBelow, key)
	}
	for d := range dirs(key) {
		if _, file := s.at[d]; file {
			return fmt.Errorf("%w: %s is below %s", ErrBelow, key, d)
		}
	}
	return nil
}

// room says whether a value still has room; what it replaces is taken off.
func (s *Values) room(key string, v Value) error {
	more := cost(key, v)
	if before, ok := s.at[key]; ok {
		more -= cost(key, before)
	}
	if more > 0 && s.octets+more > MaxValues {
		return fmt.Errorf("%w: %s", ErrFull, key)
	}
	return nil
}

// Clone returns a copy that shares nothing that changes.
func (s *Values) Clone() Values { return Values{maps.Clone(s.at), maps.Clone(s.below), s.octets} }
