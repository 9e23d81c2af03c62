// Package load is the client's side of the benchmark: mail clients that cost
// little themselves, and the two ways to set them to work.
//
// A [Client] does what a mail client does on the wire and no more: it waits for
// the greeting, logs in, and then downloads, uploads, idles or asks for nothing.
// [Closed] runs operations one after the other in a number of workers; [Open]
// starts them at fixed times, whether or not earlier ones have been answered.
// It is no mail library: answers are checked for their verdict, not understood.
//
// Laws: what was measured is what was asked for, so a connection that negotiated
// another cipher suite, group or version than the benchmark's is an error, not a
// sample. An operation that could not be started in time counts as failed. A
// latency of the open loop begins at the time that the operation was due. An
// idle client has no goroutine and keeps no buffer.
package load

import (
	"errors"
	"time"
)

// The protocols and securities of a Service.
const (
	IMAP = "imap" // RFC 9051
	POP3 = "pop3" // RFC 1939

	TLS      = "tls"      // from the first octet, RFC 8314
	StartTLS = "starttls" // STARTTLS (RFC 9051 §6.2.1) or STLS (RFC 2595 §4)
	Plain    = "plain"
)

// DefaultTimeout is how long an answer may take: longer than any that one would
// wait for, short enough for a run to go on past a target that hangs.
const DefaultTimeout = 30 * time.Second

var (
	// ErrRefused is an answer that says no: -ERR, NO, BAD or BYE.
	ErrRefused = errors.New("refused")
	// ErrNegotiated is a handshake that led to something else than was asked
	// for, which makes figures of one target incomparable to the others'.
	ErrNegotiated = errors.New("negotiated otherwise")
	// ErrAnswer is an answer that is none of the protocol's.
	ErrAnswer = errors.New("unexpected answer")
	// ErrOverload is an operation of the open loop that was due while InFlight
	// others had no answer yet.
	ErrOverload = errors.New("too many operations in flight")
	// ErrStopped is an operation that had not succeeded when the loop's context
	// was done. It counts as failed: a target that stalls must not be spared.
	ErrStopped = errors.New("stopped")
)
