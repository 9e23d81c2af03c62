package place

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// A Key stands for one user of one pool: the first 64 bits of
// HMAC-SHA256(map key, pool NUL normalised name). Live tables are indexed by
// it. It is made with a secret so that nobody outside can choose names that
// meet on one back end or share a key; among a million live users two share
// one with a probability of 3e-8, and then share their place.
type Key uint64

// A Keyer makes keys. It is safe for concurrent use.
type Keyer struct {
	pool sync.Pool // of *keyState
}

// A keyState is one hasher and its scratch space.
type keyState struct {
	mac hash.Hash
	buf []byte
}

// maxScratch bounds the scratch space that is kept: longer names than a login
// line can hold come from nowhere.
const maxScratch = 4096

// NewKeyer returns a Keyer for a map key, which all nodes of a fleet share.
// The map key may be empty: then everybody can compute the places, which tells
// them where a mailbox is but not how to get into it.
func NewKeyer(mapKey []byte) *Keyer {
	mapKey = append([]byte(nil), mapKey...)
	y := &Keyer{}
	y.pool.New = func() any {
		return &keyState{mac: hmac.New(sha256.New, mapKey)}
	}
	return y
}

// Key returns the key of a user, whose name must be normalised already (see
// [Names]). The name of a pool cannot contain NUL, so no two pairs are one.
func (y *Keyer) Key(pool, user string) Key {
	s := y.pool.Get().(*keyState)
	s.mac.Reset()
	s.buf = append(s.buf[:0], pool...)
	s.buf = append(s.buf, 0)
	s.buf = append(s.buf, user...)
	s.mac.Write(s.buf) // never fails (hash.Hash)
	s.buf = s.mac.Sum(s.buf[:0])
	k := Key(binary.BigEndian.Uint64(s.buf))
	if cap(s.buf) <= maxScratch {
		y.pool.Put(s)
	}
	return k
}
