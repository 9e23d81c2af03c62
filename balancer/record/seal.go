package record

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"slices"
)

var (
	// ErrExhausted says that a key has sealed as many records as it may.
	ErrExhausted = errors.New("record: keys have sealed all that they may")
	// ErrTooLong says that a plaintext does not fit into one record.
	ErrTooLong = errors.New("record: plaintext longer than a record")
	// ErrSlot says that a slot is too small for its record.
	ErrSlot = errors.New("record: slot too small for the record")
)

// Seal appends one record of type typ to dst. Plaintext is at most
// [MaxPlaintext] bytes and must not overlap what follows dst in its array; a is
// k's own AEAD. It fails without having touched anything if there are no keys or
// they have sealed all that they may.
//
// A session's owner goes through [Writer], which keeps the order of things.
func Seal(dst []byte, k *Keys, a cipher.AEAD, typ byte, plaintext []byte) ([]byte, error) {
	if len(plaintext) > MaxPlaintext {
		return dst, ErrTooLong
	}
	head, size := k.Head(), k.Head()+len(plaintext)+k.Tail()
	dst = slices.Grow(dst, size)
	slot := dst[len(dst) : len(dst)+size]
	copy(slot[head:], plaintext)
	if _, err := SealSlot(slot, k, a, typ, len(plaintext)); err != nil {
		clear(slot)
		return dst, err
	}
	return dst[:len(dst)+size], nil
}

// SealSlot seals in place: the n bytes of plaintext stand at [Keys.Head] in the
// slot, and [Keys.Tail] bytes of room follow them. It returns the record, which
// starts where the slot does.
//
// Slots of Head+MaxPlaintext+Tail bytes side by side make a buffer that can be
// filled by one readv(2) and, since only the last can be short, emptied by one
// write(2).
func SealSlot(slot []byte, k *Keys, a cipher.AEAD, typ byte, n int) ([]byte, error) {
	t := k.suite.traits()
	head, size := t.head(), t.head()+n+t.tail()
	switch {
	case t.family == noFamily:
		return nil, ErrNoKeys
	case n < 0 || n > MaxPlaintext:
		return nil, ErrTooLong
	case len(slot) < size:
		return nil, ErrSlot
	case k.Seq() >= t.maxRecords():
		return nil, ErrExhausted
	}
	rec := slot[:size]
	rec[0] = typ
	binary.BigEndian.PutUint16(rec[1:], TLS12) // in TLS 1.3 too (RFC 8446 §5.2)
	binary.BigEndian.PutUint16(rec[3:], uint16(size-HeaderLen))

	// Explicit nonces are the sequence number: unique as it is, and it tells
	// an onlooker nothing that counting would not (RFC 5288 §3).
	explicit := k.ad[:explicitNonceLen]
	if t.version == TLS13 {
		rec[0] = TypeData // the true type is sealed (RFC 8446 §5.2)
		rec[head+n] = typ
		inner := rec[head : head+n+1]
		a.Seal(inner[:0], k.nonceFor(t, nil), inner, rec[:HeaderLen])
	} else {
		copy(rec[HeaderLen:head], explicit)
		inner := rec[head : head+n]
		a.Seal(inner[:0], k.nonceFor(t, explicit), inner, k.additional(typ, n))
	}
	k.done(t)
	k.SetSeq(k.Seq() + 1)
	return rec, nil
}
