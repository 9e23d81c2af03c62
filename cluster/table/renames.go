package table

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"usher.example/cluster/place"
)

// A Rename is a new key of a pin.
type Rename struct{ Old, New place.Key }

// Renames are many of them, packed when they are written.
type Renames []Rename

const renameLen = 8 + 8

// MaxRenames is how many go into one command: packed and in JSON some 90 KB.
const MaxRenames = 4096

// MarshalJSON writes them as one string.
func (l Renames) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(l)*renameLen)
	for _, r := range l {
		b = binary.BigEndian.AppendUint64(b, uint64(r.Old))
		b = binary.BigEndian.AppendUint64(b, uint64(r.New))
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Renames) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b)%renameLen != 0 {
		return errors.Join(errUsers, err)
	}
	*l = make(Renames, 0, len(b)/renameLen)
	for ; len(b) > 0; b = b[renameLen:] {
		*l = append(*l, Rename{place.Key(binary.BigEndian.Uint64(b)), place.Key(binary.BigEndian.Uint64(b[8:]))})
	}
	return nil
}

// renames packs new keys for a snapshot.
func renames(m map[place.Key]place.Key) Renames {
	l := make(Renames, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		l = append(l, Rename{k, m[k]})
	}
	return l
}

func (l Renames) settling(s Settings) *Settling {
	n := &Settling{Settings: s, Keys: make(map[place.Key]place.Key, len(l)), back: make(map[place.Key]place.Key, len(l))}
	for _, r := range l {
		n.Keys[r.Old], n.back[r.New] = r.New, r.Old
	}
	return n
}
