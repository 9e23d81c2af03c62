package record

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// ErrNoKeys says that keys are missing, because they were wiped or never set.
var ErrNoKeys = errors.New("record: no keys")

// Keys are the keys and the sequence number of one direction of a session.
//
// The zero value has no keys and seals and opens nothing. Keys hold secrets:
// wipe them when the session ends, and mind that a copy uses nonces twice.
type Keys struct {
	// ad is the additional data of TLS 1.2 (RFC 5246 §6.2.3.3): the sequence
	// number of the next record, big endian, and room for type, version and
	// length. It lies here because what an interface method is given must lie
	// on the heap, and a slab does.
	ad [8 + HeaderLen]byte
	// iv is the write IV, or in TLS 1.2 with AES-GCM the salt and the explicit
	// nonce of the last record. While an AEAD runs it is that record's nonce.
	iv      [nonceLen]byte
	key     [32]byte
	secret  [48]byte // of TLS 1.3: application_traffic_secret_N
	suite   Suite    // 0 means no keys
	updates uint32   // N
}

// Version returns the protocol version, 0 if there are no keys.
func (k *Keys) Version() uint16 { return k.suite.traits().version }

// Suite returns the cipher suite, 0 if there are no keys.
func (k *Keys) Suite() Suite { return k.suite }

// Seq returns the sequence number of the next record.
func (k *Keys) Seq() uint64 { return binary.BigEndian.Uint64(k.ad[:8]) }

// SetSeq sets the sequence number of the next record, for keys that somebody
// else has used before: crypto/tls during the handshake, or the kernel. A number
// that has been sealed with already must never be set again.
func (k *Keys) SetSeq(n uint64) { binary.BigEndian.PutUint64(k.ad[:8], n) }

// Updates returns how many times the keys were updated. An AEAD is good for one
// value only: a cache keeps it beside the AEAD.
func (k *Keys) Updates() uint32 { return k.updates }

// Wipe forgets everything. What AEADs built from the keys hold is not reached.
func (k *Keys) Wipe() { *k = Keys{} }

// Format prints the same for all keys, by any verb. The fmt package cannot see it
// through an unexported field: a type that holds keys in one, and is printed,
// needs its own.
func (Keys) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[redacted]") }

// AEAD builds the cipher for the present keys. It is spent when the keys are
// updated. It fails if there are no keys, and for AES-GCM where Go accepts only
// FIPS 140-3 algorithms (see [Usable]).
//
// Building one costs about a microsecond (AES-GCM) and it is about 800 bytes
// large (ChaCha20-Poly1305: a tenth of both).
func (k *Keys) AEAD() (cipher.AEAD, error) {
	t := k.suite.traits()
	key := k.key[:t.keyLen]
	switch t.family {
	case aesGCM:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("record: key AES: %w", err)
		}
		// Nonces are chosen by nonceFor, the only place that does.
		a, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("record: build AES-GCM: %w", err)
		}
		return a, nil
	case chaCha:
		a, err := chacha20poly1305.New(key)
		if err != nil {
			return nil, fmt.Errorf("record: build ChaCha20-Poly1305: %w", err)
		}
		return a, nil
	default:
		return nil, ErrNoKeys
	}
}

// explicit says that records carry a part of their nonce (RFC 5288 §3).
func (t traits) explicit() bool { return t.version == TLS12 && t.family == aesGCM }

// Head is the number of bytes before the plaintext of a record sealed with k:
// the header and, with AES-GCM in TLS 1.2, the explicit nonce.
func (k *Keys) Head() int { return k.suite.traits().head() }

// Tail is the number of bytes after the plaintext: the tag and, in TLS 1.3, the
// content type.
func (k *Keys) Tail() int { return k.suite.traits().tail() }

func (t traits) head() int {
	if t.explicit() {
		return HeaderLen + explicitNonceLen
	}
	return HeaderLen
}

func (t traits) tail() int {
	if t.version == TLS13 {
		return 1 + tagLen
	}
	return tagLen
}

// nonceFor makes k.iv the nonce of the record with the present sequence number
// and returns it; done undoes that. This is where every nonce comes from.
//
// With explicit nonces it is the salt and the sequence number on sending, and
// the salt and what the record says on receipt (RFC 5288 §3); else the IV with
// the sequence number XORed in (RFC 8446 §5.3, RFC 7905 §2).
func (k *Keys) nonceFor(t traits, explicit []byte) []byte {
	if t.explicit() {
		copy(k.iv[saltLen:], explicit)
	} else {
		k.mask()
	}
	return k.iv[:]
}

// done ends the use of a nonce.
func (k *Keys) done(t traits) {
	if !t.explicit() {
		k.mask()
	}
}

// mask XORs the sequence number into the IV; a second time takes it out.
func (k *Keys) mask() {
	low := k.iv[nonceLen-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^k.Seq())
}

// additional builds the additional data of a TLS 1.2 record of n bytes of
// plaintext (RFC 5246 §6.2.3.3).
func (k *Keys) additional(typ byte, n int) []byte {
	k.ad[8] = typ
	binary.BigEndian.PutUint16(k.ad[9:], TLS12)
	binary.BigEndian.PutUint16(k.ad[11:], uint16(n))
	return k.ad[:]
}
