package record

import "crypto/cipher"

// Bounds on what a peer may send without moving data. Each record or message
// costs us work and, for a KeyUpdate, an answer.
const (
	// maxEmpty is how many records in a row may be empty or hold an alert that
	// is ignored. Some stacks send a few; crypto/tls bears as many.
	maxEmpty = 16
	// maxMessages is how many handshake messages in a row are taken without
	// data between them. OpenSSL draws the line for KeyUpdates there too.
	maxMessages = 32
)

// A Kind says what a record meant.
type Kind uint8

// Kinds of Event.
const (
	None Kind = iota // nothing to do: an empty record, a piece of a message
	Data             // Event.Data holds application data, at least one byte
	// Closed is close_notify: the peer sends nothing more. In TLS 1.2 it is to
	// be answered with ours at once (RFC 5246 §7.2.1), in TLS 1.3 when we have
	// sent all (RFC 8446 §6.1).
	Closed
	// Updated means that the peer has new keys. The Reader has them as well:
	// build a new AEAD before the next record. If Event.Answer is set, tell
	// the Writer by [Writer.Owe].
	Updated
	Ticket // a session ticket came and was dropped (as a client only)
)

// An Event is what one record meant.
type Event struct {
	Kind Kind
	// Answer says that an Updated peer wants us to update too.
	Answer bool
	// Data is part of the buffer that the record was opened in.
	Data []byte
}

// A Reader opens what a peer sends. It is a value of fixed size without a
// pointer; the zero value has no keys.
//
//	open --close_notify--> closed    (what follows is ignored, RFC 8446 §6.1)
//	  |----any failure---> dead      (keys wiped, every call fails the same)
//
// The end of the stream is its owner's to judge: without Closed before, or with
// a part of a record left over, the peer or somebody on the way cut it short.
type Reader struct {
	Keys
	post     postHandshake
	role     Role
	state    state
	empty    uint8 // records without data or message since the last data
	messages uint8 // handshake messages since the last data
	alert    Alert // why it is dead
	class    Class
}

type state uint8

const (
	stateOpen state = iota
	stateClosed
	stateDead
)

// NewReader returns a Reader for what the peer sends under k. Role is ours. The
// keys are copied; wipe the original.
func NewReader(k Keys, role Role) Reader { return Reader{Keys: k, role: role} }

// Parse looks at the header of the record that buf begins with. It returns the
// size of the record with its header, 0 while the header is not complete, and
// whether all of it is there. A record that can never be opened is refused as
// soon as its header is seen: the error is an *[AlertError], and the Reader dead.
func (r *Reader) Parse(buf []byte) (n int, complete bool, err error) {
	if r.state == stateDead {
		return 0, false, r.failure()
	}
	n, complete, err = r.parse(buf)
	if err != nil {
		return 0, false, r.die(err)
	}
	return n, complete, nil
}

// Next opens, in place, the record that buf begins with and says what it meant.
// It returns how many bytes the record had, 0 if it is not complete. A must come
// from the Reader's present keys. Errors are *[AlertError] and for ever; after
// one, or after Closed, nothing further is opened.
func (r *Reader) Next(a cipher.AEAD, buf []byte) (n int, ev Event, err error) {
	if r.state == stateClosed {
		return len(buf), Event{Kind: Closed}, nil
	}
	n, complete, err := r.Parse(buf)
	if err != nil || !complete {
		return 0, Event{}, err
	}
	typ, plaintext, err := Open(&r.Keys, a, buf[:n:n])
	if err != nil {
		return 0, Event{}, r.die(err)
	}
	ev, err = r.Handle(typ, plaintext)
	if err != nil {
		clear(plaintext)
		return 0, Event{}, err
	}
	return n, ev, nil
}

// Handle says what a record meant that was opened elsewhere: by the kernel. An
// owner that lets the kernel splice data must say so by [Reader.Moved].
func (r *Reader) Handle(typ byte, plaintext []byte) (Event, error) {
	switch r.state {
	case stateClosed:
		return Event{Kind: Closed}, nil
	case stateDead:
		return Event{}, r.failure()
	case stateOpen:
	}
	ev, err := r.judge(typ, plaintext)
	if err != nil {
		return Event{}, r.die(err)
	}
	if ev.Kind == Closed {
		r.state = stateClosed
	}
	return ev, nil
}

// Moved says that data arrived that the Reader did not see. It fails where data
// must not come, as [Reader.Handle] would.
func (r *Reader) Moved() error {
	switch {
	case r.state == stateDead:
		return r.failure()
	case r.post.partial(): // as in judge
		return r.die(&AlertError{Alert: UnexpectedMessage, Class: Unexpected})
	}
	r.moved()
	return nil
}

func (r *Reader) moved() { r.empty, r.messages = 0, 0 }

// judge holds a record against RFC 8446 §5 and §6 or RFC 5246 §6 and §7.
func (r *Reader) judge(typ byte, p []byte) (Event, error) {
	if len(p) > MaxPlaintext {
		return Event{}, &AlertError{Alert: RecordOverflow, Class: Malformed}
	}
	if typ != TypeHandshake && r.post.partial() {
		// Messages are not interleaved with other records (RFC 8446 §5.1).
		return Event{}, &AlertError{Alert: UnexpectedMessage, Class: Unexpected}
	}
	switch typ {
	case TypeData:
		if len(p) == 0 {
			return Event{}, r.idle()
		}
		r.moved()
		return Event{Kind: Data, Data: p}, nil
	case TypeAlert:
		return r.alertRecord(p)
	case TypeHandshake:
		if len(p) == 0 { // RFC 8446 §5.1
			return Event{}, &AlertError{Alert: UnexpectedMessage, Class: Malformed}
		}
		if r.Version() == TLS12 {
			return Event{}, r.renegotiation(p[0])
		}
		return r.handshake(p)
	default: // change_cipher_spec, and what nobody has defined
		return Event{}, &AlertError{Alert: UnexpectedMessage, Class: Unexpected}
	}
}

// alertRecord judges an alert (RFC 8446 §6, RFC 5246 §7.2).
func (r *Reader) alertRecord(p []byte) (Event, error) {
	switch len(p) {
	case 2: // one alert, neither cut nor two in one record (RFC 8446 §5.1)
	case 0: // RFC 8446 §5.4
		return Event{}, &AlertError{Alert: UnexpectedMessage, Class: Malformed}
	default:
		return Event{}, &AlertError{Alert: DecodeError, Class: Malformed}
	}
	level, alert := p[0], Alert(p[1])
	if alert == CloseNotify {
		return Event{Kind: Closed}, nil
	}
	if r.Version() == TLS12 {
		if level == levelWarning {
			return Event{}, r.idle()
		}
		if level != levelFatal {
			return Event{}, &AlertError{Alert: IllegalParameter, Class: Malformed}
		}
	} else if alert == UserCanceled {
		// A close_notify should follow (RFC 8446 §6.1).
		return Event{}, r.idle()
	}
	return Event{}, &AlertError{Alert: alert, Class: Peer}
}

// idle counts a record that carried nothing.
func (r *Reader) idle() error {
	if r.empty++; r.empty > maxEmpty {
		return &AlertError{Alert: UnexpectedMessage, Class: Flood}
	}
	return nil
}

// die ends the Reader for err, which becomes the answer to every further call.
func (r *Reader) die(err error) error {
	e, ok := err.(*AlertError) //nolint:errorlint // made in this package, never wrapped
	if !ok {                   // misuse, such as missing keys: nothing to tell the peer
		return err
	}
	role := r.role
	r.Wipe()
	*r = Reader{role: role, state: stateDead, alert: e.Alert, class: e.Class}
	return e
}

// failure is what a dead Reader answers.
func (r *Reader) failure() error { return &AlertError{Alert: r.alert, Class: r.class} }
