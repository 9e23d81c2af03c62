package record

import (
	"crypto/cipher"
	"errors"
)

var (
	// ErrClosed says that an alert was sent that nothing may follow.
	ErrClosed = errors.New("record: closed for sending")
	// ErrUpdateOwed says that the peer waits for a KeyUpdate, which goes before
	// any data: see [Writer.AppendKeyUpdate].
	ErrUpdateOwed = errors.New("record: a KeyUpdate must be sent before data")
)

// A Writer seals what we send. It is a value of fixed size without a pointer;
// the zero value has no keys.
//
// Whatever it seals must be sent, whole and in the order of sealing.
type Writer struct {
	Keys
	owed   bool
	closed bool
}

// NewWriter returns a Writer for what we send under k. The keys are copied; wipe
// the original.
func NewWriter(k Keys) Writer { return Writer{Keys: k} }

// Owe notes that the peer asked for a KeyUpdate. However often it asks before the
// next data, it gets one (RFC 8446 §4.6.3); none once the Writer is closed.
func (w *Writer) Owe() { w.owed = true }

// Due says that a KeyUpdate must be sent before n more records of data: it is
// owed, or the n would go past the limit. Limit is how many records one key
// seals, 0 for what the cipher wants ([UpdateAfter]). Never due in TLS 1.2.
func (w *Writer) Due(n int, limit uint64) bool {
	t := w.suite.traits()
	if t.version != TLS13 || w.closed {
		return false
	}
	if limit == 0 {
		limit = t.updateAfter()
	}
	limit = min(limit, t.updateAfter())
	seq := w.Seq()
	return w.owed || seq >= limit || uint64(n) > limit-seq
}

// AppendKeyUpdate appends a KeyUpdate record sealed under the present keys and
// moves on to the next: build a new AEAD before anything else is sealed. Request
// asks the peer to update too.
func (w *Writer) AppendKeyUpdate(dst []byte, a cipher.AEAD, request bool) ([]byte, error) {
	if w.closed {
		return dst, ErrClosed
	}
	if w.Version() == TLS12 {
		return dst, ErrNoUpdate
	}
	m := KeyUpdateMessage(request)
	// The next keys first: if they cannot be had, nothing was said.
	next := *w
	defer next.Wipe()
	if err := next.Rekey(); err != nil {
		return dst, err
	}
	dst, err := Seal(dst, &w.Keys, a, TypeHandshake, m[:])
	if err != nil {
		return dst, err
	}
	*w = next
	return dst, nil
}

// Rekey moves on to the next keys after a KeyUpdate that was sealed elsewhere: by
// the kernel.
func (w *Writer) Rekey() error {
	if err := w.Update(); err != nil {
		return err
	}
	w.owed = false
	return nil
}

// Append appends data to dst as records, as few as will do and none for no data.
// If it fails, the records before the failure were appended and must be sent.
func (w *Writer) Append(dst []byte, a cipher.AEAD, data []byte) ([]byte, error) {
	for len(data) > 0 {
		if err := w.mayData(); err != nil {
			return dst, err
		}
		n := min(len(data), MaxPlaintext)
		var err error
		if dst, err = Seal(dst, &w.Keys, a, TypeData, data[:n]); err != nil {
			return dst, err
		}
		data = data[n:]
	}
	return dst, nil
}

// SealSlot seals n bytes of data that lie in a slot; see the function [SealSlot].
func (w *Writer) SealSlot(slot []byte, a cipher.AEAD, n int) ([]byte, error) {
	if err := w.mayData(); err != nil {
		return nil, err
	}
	return SealSlot(slot, &w.Keys, a, TypeData, n)
}

// reserved is how many records under one key are kept back from data: a
// KeyUpdate and an alert can still be sealed when data cannot.
const reserved = 2

// mayData says whether data may be sealed now.
func (w *Writer) mayData() error {
	switch t := w.suite.traits(); {
	case w.closed:
		return ErrClosed
	case w.owed:
		return ErrUpdateOwed
	case t.family != noFamily && w.Seq() >= t.maxRecords()-reserved:
		return ErrExhausted
	default:
		return nil
	}
}

// AppendAlert appends an alert. Every alert that we send is the last thing that
// we send: the Writer is closed and its keys are gone.
func (w *Writer) AppendAlert(dst []byte, a cipher.AEAD, alert Alert) ([]byte, error) {
	if w.closed {
		return dst, ErrClosed
	}
	m := alert.Message()
	dst, err := Seal(dst, &w.Keys, a, TypeAlert, m[:])
	if err != nil {
		return dst, err
	}
	w.Close()
	return dst, nil
}

// Ready says whether n more records of data may be sealed elsewhere, by the
// kernel, nil if so: [ErrUpdateOwed] and [ErrExhausted] as for sealing here. It
// believes [Keys.SetSeq], by which an owner counts what the kernel seals.
func (w *Writer) Ready(n int) error {
	if err := w.mayData(); err != nil {
		return err
	}
	if t := w.suite.traits(); t.family != noFamily && uint64(n) > t.maxRecords()-reserved-w.Seq() {
		return ErrExhausted
	}
	return nil
}

// Close ends sending after an alert that was sealed elsewhere: by the kernel.
func (w *Writer) Close() {
	w.Wipe()
	w.owed, w.closed = false, true
}
