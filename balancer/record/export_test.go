package record

import (
	"crypto/cipher"
	"encoding/binary"
	"slices"
)

// Limits that tests walk up to.
const (
	MaxEmpty    = maxEmpty
	MaxMessages = maxMessages
	MaxMessage  = maxMessage
	MaxGCM      = maxGCM
	Reserved    = reserved
	MaxSeq      = maxSeq
)

// ExpandLabel is HKDF-Expand-Label for vectors.
func ExpandLabel(s Suite, secret []byte, label string, n int) ([]byte, error) {
	out := make([]byte, n)
	err := expandLabel(s.traits(), secret, label, out)
	return out, err
}

// KeyIV returns key and IV for vectors.
func KeyIV(k *Keys) (key, iv []byte) {
	return slices.Clone(k.key[:k.suite.traits().keyLen]), slices.Clone(k.iv[:])
}

// A Forgery is an authentic record that breaks rules.
type Forgery struct {
	Type    byte   // content type, in TLS 1.3 the inner one; 0 means none at all
	Outer   byte   // in TLS 1.3 the outer content type, 0 means TypeData
	Version uint16 // in the header, 0 means TLS12
	Padding int    // zeros behind the type
	Body    []byte // of any length
}

// Forge appends f sealed under k, which counts on.
func Forge(dst []byte, k *Keys, a cipher.AEAD, f Forgery) []byte {
	t := k.suite.traits()
	if f.Version == 0 {
		f.Version = TLS12
	}
	if f.Outer == 0 {
		f.Outer = TypeData
	}
	inner := slices.Clone(f.Body)
	header := []byte{f.Type, 0, 0, 0, 0}
	if t.version == TLS13 {
		header[0] = f.Outer
		if f.Type != 0 {
			inner = append(inner, f.Type)
		}
		inner = append(inner, make([]byte, f.Padding)...)
	}
	binary.BigEndian.PutUint16(header[1:], f.Version)
	binary.BigEndian.PutUint16(header[3:], uint16(t.head()-HeaderLen+len(inner)+tagLen))
	dst = append(dst, header...)
	explicit := slices.Clone(k.ad[:8])
	ad := header
	if t.explicit() {
		dst = append(dst, explicit...)
	}
	if t.version == TLS12 {
		ad = slices.Clone(k.additional(f.Type, len(inner)))
		binary.BigEndian.PutUint16(ad[9:], f.Version)
	}
	dst = a.Seal(dst, k.nonceFor(t, explicit), inner, ad)
	k.done(t)
	k.SetSeq(k.Seq() + 1)
	return dst
}
