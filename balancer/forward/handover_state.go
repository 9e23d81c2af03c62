package forward

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"usher.example/balancer/record"
)

// handoverVersion is the first octet of a Handover's state. Another one is another
// program's, and refused.
const handoverVersion = 1

// maxPendingState bounds what a state may hold for a socket: a pipe's load and a
// turn's, sealed.
const maxPendingState = 2*bulkPipe + aloneBudget*record.MaxRecord

// ErrState says that octets are no state of a Handover.
var ErrState = errors.New("not a session's state of this version")

// Flags of a side in a state.
const (
	stateSecured = 1 << iota
	stateOpening
	stateSealing
	stateEOF
	stateShut
	stateClosed
)

// AppendState appends all of a Handover but its descriptors, which travel beside
// it, for another process. The octets are secret, and good for one Resume only:
// afterwards forget them and the Handover's secrets.
func (h *Handover) AppendState(dst []byte) []byte {
	size := 64 // of what has a fixed size, and then some
	for _, s := range []*Handed{&h.Client, &h.Server} {
		size += len(s.Pending) + record.ReaderStateLen + record.WriterStateLen
		if s.Secured != nil {
			size += len(s.Secured.Ciphertext)
		}
	}
	dst = slices.Grow(dst, size) // at once: an array that was outgrown would keep secrets
	dst = append(dst, handoverVersion)
	for _, n := range []uint64{h.In, h.Out, uint64(h.Quiet)} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	dst = append(dst, byte(h.Why), bits(h.Noted, 1))
	for _, s := range []*Handed{&h.Client, &h.Server} {
		flags := bits(s.Opening, stateOpening) | bits(s.Sealing, stateSealing) | bits(s.EOF, stateEOF) | bits(s.Shut, stateShut)
		if s.Secured == nil {
			dst = append(dst, flags)
		} else {
			dst = append(dst, flags|stateSecured|bits(s.Secured.Closed, stateClosed))
			dst = s.Secured.Reader.AppendState(dst)
			dst = s.Secured.Writer.AppendState(dst)
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.Secured.Ciphertext)))
			dst = append(dst, s.Secured.Ciphertext...)
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.Pending)))
		dst = append(dst, s.Pending...)
	}
	return dst
}

func bits(set bool, flag byte) byte {
	if set {
		return flag
	}
	return 0
}

// ParseHandover reads what AppendState has appended, and gives it its descriptors.
// It copies what it needs. After an error the descriptors are still the caller's.
func ParseHandover(state []byte, client, server int) (*Handover, error) {
	r := reader{b: state}
	if r.byte() != handoverVersion {
		return nil, ErrState
	}
	h := &Handover{In: r.uint64(), Out: r.uint64(), Quiet: time.Duration(r.uint64()), Why: End(r.byte()), Noted: r.flags(1) != 0}
	for _, s := range []*Handed{&h.Client, &h.Server} {
		flags := r.flags(stateSecured | stateOpening | stateSealing | stateEOF | stateShut | stateClosed)
		*s = Handed{
			FD: none, Opening: flags&stateOpening != 0, Sealing: flags&stateSealing != 0,
			EOF: flags&stateEOF != 0, Shut: flags&stateShut != 0,
		}
		if flags&stateSecured != 0 {
			s.Secured = &Secured{Closed: flags&stateClosed != 0}
			r.note(s.Secured.Reader.SetState(r.take(record.ReaderStateLen)))
			r.note(s.Secured.Writer.SetState(r.take(record.WriterStateLen)))
			s.Secured.Ciphertext = r.octets(record.MaxRecord)
		} else if s.Opening || s.Sealing || flags&stateClosed != 0 {
			r.note(ErrState)
		}
		s.Pending = r.octets(maxPendingState)
	}
	if len(r.b) > 0 || int(h.Why) >= len(endNames) || h.Quiet < 0 {
		r.note(ErrState)
	}
	if r.err != nil {
		h.Forget()
		return nil, r.err
	}
	h.Client.FD, h.Server.FD = client, server
	return h, nil
}

// A reader takes a state apart. After its first error it gives zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) note(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.note(ErrState)
		r.b = nil
		return make([]byte, min(n, record.MaxRecord))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

// flags takes an octet that may have the bits of known.
func (r *reader) flags(known byte) byte {
	b := r.byte()
	if b&^known != 0 {
		r.note(ErrState)
	}
	return b
}

func (r *reader) octets(most int) []byte {
	n := int(binary.BigEndian.Uint32(r.take(4)))
	if n > most || n > len(r.b) {
		r.note(ErrState)
		return nil
	}
	return append([]byte(nil), r.take(n)...)
}
