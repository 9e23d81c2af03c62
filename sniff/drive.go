package sniff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Errors of a Driver, beside those of the connection and the conversation.
var (
	// ErrTooLong: the peer sent more than the bound without saying anything
	// that could be acted on.
	ErrTooLong = errors.New("input exceeds the bound")
	// ErrInjection: the peer sent bytes behind STARTTLS in plaintext
	// (the CVE-2011-0411 family). Nothing of them was looked at, and the
	// answer that would have started TLS was not sent.
	ErrInjection = errors.New("plaintext behind STARTTLS")
	// ErrProxyHeader: a client began with a PROXY header, and is no proxy that
	// is listed. What it says next is said for somebody else.
	ErrProxyHeader = errors.New("PROXY header from an address that is not listed")
	// ErrStuck: a conversation asked to be called again without consuming or
	// producing anything; a bug, ended instead of spinning.
	ErrStuck = errors.New("conversation makes no progress")
)

const (
	// MaxInput bounds what is kept of a peer's input: the longest line of any
	// conversation (a SASL message of 16 KiB in base64, see MaxSASL) and a
	// read behind it. It is the memory a connection can claim before login.
	MaxInput = 32 << 10

	// readSize is the least room for a read: a login and what clients
	// pipeline behind it fit at the first try.
	readSize = 1 << 10

	// maxOutput bounds what is collected before it is written. A conversation
	// answers each command with some hundred octets, so a peer that pipelines
	// without reading is held up by the connection, not by our memory.
	maxOutput = 16 << 10
)

// A Driver runs a conversation over a connection within a bound of memory.
// It does not watch the time: deadlines are the connection's. One goroutine
// uses it at a time.
type Driver struct {
	conv    Conversation
	started bool
	in      []byte       // read and not consumed
	used    []byte       // consumed, and cleared before the next step
	out     []byte       // to be written
	first   *firstBuffer // what in and used lie in, until they outgrow it
	held    error        // a read error that came with the last bytes
	spoke   bool         // something was written
}

// A firstBuffer is what a dialogue begins to read into; hardly any needs more.
type firstBuffer [3 * readSize]byte

// firstBuffers are those of dialogues that are over. There is nothing in them.
var firstBuffers = sync.Pool{New: func() any { return new(firstBuffer) }}

// NewDriver returns a Driver for c.
func NewDriver(c Conversation) *Driver { return &Driver{conv: c} }

// Drive goes on with the conversation until something happens that the
// conversation cannot handle alone: every Event but More and Step is returned.
// What was to be said up to there has been written, unless an error is returned.
// rw may differ from call to call (TLS was started in between).
func (d *Driver) Drive(rw io.ReadWriter) (Event, error) {
	if !d.started {
		d.started = true
		d.out = d.conv.Start(d.out)
	}
	for {
		d.forget()
		n, out, ev, err := d.conv.Next(d.out, d.in)
		progress := n > 0 || len(out) > len(d.out)
		d.out, d.in, d.used = out, d.in[n:], d.in[:n]
		if ev.Kind == StartTLS && len(d.in) > 0 {
			d.out, d.in = nil, nil
			return Event{Kind: Quit}, ErrInjection
		}
		switch ev.Kind {
		case Step:
			if !progress {
				return Event{Kind: Quit}, ErrStuck
			}
			if len(d.out) < maxOutput {
				continue
			}
			if err := d.Flush(rw); err != nil {
				return Event{Kind: Quit}, err
			}
		case More:
			if err := d.Flush(rw); err != nil {
				return Event{Kind: Quit}, err
			}
			if err := d.read(rw); err != nil {
				return Event{Kind: Quit}, err
			}
		default:
			if werr := d.Flush(rw); err == nil {
				err = werr
			}
			return ev, err
		}
	}
}

// read gets more input, at least one octet of it.
func (d *Driver) read(r io.Reader) error {
	if d.held != nil {
		return d.held
	}
	if len(d.in) >= MaxInput {
		return fmt.Errorf("%w: %d octets", ErrTooLong, len(d.in))
	}
	if d.in == nil && d.first == nil {
		d.first, _ = firstBuffers.Get().(*firstBuffer)
		d.in = d.first[:0]
	}
	if cap(d.in)-len(d.in) < readSize {
		grown := make([]byte, len(d.in), min(max(2*len(d.in), 2*readSize), MaxInput)+readSize)
		copy(grown, d.in)
		clear(d.in) // it may hold a password
		d.in = grown
	}
	n, err := r.Read(d.in[len(d.in):min(cap(d.in), MaxInput)])
	d.in = d.in[:len(d.in)+n]
	if n > 0 {
		d.held = err
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// Queue appends to what will be written next.
func (d *Driver) Queue(add func(dst []byte) []byte) { d.out = add(d.out) }

// Flush writes what is queued.
func (d *Driver) Flush(w io.Writer) error {
	if len(d.out) == 0 {
		return nil
	}
	d.spoke = true
	_, err := w.Write(d.out)
	clear(d.out) // it may hold a password
	d.out = d.out[:0]
	return err
}

// forget clears the input consumed last: it may hold a password, and an Event
// may point into it until the next step.
func (d *Driver) forget() {
	clear(d.used)
	d.used = nil
}

// Spoke tells whether anything has been written to the peer yet.
func (d *Driver) Spoke() bool { return d.spoke }

// Rest takes what was read and not consumed: the bytes that a peer sent behind
// its login, which must travel ahead of everything read later. A read error that
// came with them is not handed out: the connection gives it again.
func (d *Driver) Rest() []byte {
	d.forget()
	rest := bytes.Clone(d.in) // not the whole buffer: it stays as long as the session
	d.in = nil
	if d.first != nil {
		clear(d.first[:])
		firstBuffers.Put(d.first)
		d.first = nil
	}
	return rest
}
