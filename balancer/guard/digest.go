package guard

import "crypto/sha256"

// digestRoom is what a name and a password usually need; longer ones are put into
// memory of their own.
const digestRoom = 256

// A Digest recognises a password that was wrong before. It cannot be turned back
// without the key, which never leaves the process, and is never shown.
type Digest uint64

// String hides it.
func (Digest) String() string { return "[redacted]" }

// GoString hides it.
func (Digest) GoString() string { return "[redacted]" }

// Digest makes one of a user's name and what he has sent to prove himself. Nothing
// sent has none, which is never recognised. What was put together is overwritten.
func (g *Guard) Digest(user string, secret []byte) Digest {
	if len(secret) == 0 {
		return 0
	}
	var room [digestRoom]byte
	defer clear(room[:]) // it has the key even where it was too small
	b := append(room[:0], g.key[:]...)
	b = append(b, byte(len(user)>>8), byte(len(user))) // so that no two of them look alike
	b = append(b, user...)
	b = append(b, secret...)
	sum := sha256.Sum256(b)
	clear(b)
	var d Digest
	for _, c := range sum[:8] {
		d = d<<8 | Digest(c)
	}
	return max(d, 1)
}
