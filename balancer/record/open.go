package record

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
)

// minBody is the size of the shortest body that a record can have behind its
// header: a tag and, in TLS 1.3, a content type or, with AES-GCM in TLS 1.2, a
// nonce.
func (t traits) minBody() int { return t.head() - HeaderLen + t.tail() }

// maxBody is that of the longest: see [MaxRecord].
func (t traits) maxBody() int { return t.minBody() + MaxPlaintext }

// parse is what [Reader.Parse] says, without what a Reader remembers.
func (k *Keys) parse(buf []byte) (n int, complete bool, err error) {
	t := k.suite.traits()
	if t.family == noFamily {
		return 0, false, ErrNoKeys
	}
	if len(buf) < HeaderLen {
		return 0, false, nil
	}
	if t.version == TLS13 {
		// The version is "ignored for all purposes" (RFC 8446 §5.1), though
		// authenticated. Only protected records may come after the handshake,
		// not even a change_cipher_spec any more (§5).
		if buf[0] != TypeData {
			return 0, false, &AlertError{Alert: UnexpectedMessage, Class: Unexpected}
		}
	} else if binary.BigEndian.Uint16(buf[1:]) != TLS12 {
		return 0, false, &AlertError{Alert: ProtocolVersion, Class: Malformed}
	}
	body := int(binary.BigEndian.Uint16(buf[3:]))
	switch {
	case body > t.maxBody():
		return 0, false, &AlertError{Alert: RecordOverflow, Class: Malformed}
	case body < t.minBody():
		// Too short to be authentic: as if it had been tried.
		return 0, false, &AlertError{Alert: BadRecordMAC, Class: Forged}
	}
	n = HeaderLen + body
	return n, len(buf) >= n, nil
}

// Open opens one whole record in place and returns its content type and
// plaintext, a part of rec, without any judgement of them beyond what
// decryption needs. Rec is one record and nothing more. A record that fails
// leaves the sequence number as it was and zeros where its plaintext would be.
//
// It is for trial decryption, on copies of keys and record; a session's owner
// goes through [Reader].
func Open(k *Keys, a cipher.AEAD, rec []byte) (typ byte, plaintext []byte, err error) {
	n, complete, err := k.parse(rec)
	if err != nil {
		return 0, nil, err
	}
	if !complete || n != len(rec) {
		return 0, nil, &AlertError{Alert: DecodeError, Class: Malformed}
	}
	if k.Seq() == maxSeq {
		return 0, nil, &AlertError{Alert: InternalError, Class: Exhausted}
	}
	t := k.suite.traits()
	sealed := rec[t.head():]
	if t.version == TLS13 {
		plaintext, err = a.Open(sealed[:0], k.nonceFor(t, nil), sealed, rec[:HeaderLen])
	} else {
		plaintext, err = a.Open(sealed[:0], k.nonceFor(t, rec[HeaderLen:t.head()]), sealed,
			k.additional(rec[0], len(sealed)-tagLen))
	}
	k.done(t)
	if err != nil {
		clear(sealed)
		return 0, nil, &AlertError{Alert: BadRecordMAC, Class: Forged}
	}
	k.SetSeq(k.Seq() + 1)
	if t.version != TLS13 {
		return rec[0], plaintext, nil
	}
	// The type is the last byte that is not padding. The time that this takes
	// tells how much padding there is, as RFC 8446 §E.3 concedes; the record is
	// authentic by now.
	plaintext = bytes.TrimRight(plaintext, "\x00")
	if len(plaintext) == 0 {
		return 0, nil, &AlertError{Alert: UnexpectedMessage, Class: Malformed}
	}
	last := len(plaintext) - 1
	return plaintext[last], plaintext[:last], nil
}
