// Package imap is IMAP up to the end of the login, as a server to the client
// and as a client to the back end (RFC 3501, RFC 9051).
//
// It holds the laws of package sniff, and these:
//
//   - A line ends in CR LF and nothing else. NUL, a bare CR and a bare LF end
//     the conversation: two parsers that disagree about line ends are how
//     commands get smuggled, and no client is known that needs them.
//   - Names and passwords are read out of the client's syntax and written anew
//     in the back end's; no octet of the one gets into the other by copying.
//   - What the back end says before the answer to the login is dropped, except
//     for its capabilities.
//   - A fault that may pass never looks like a wrong password: clients throw
//     saved passwords away (RFC 5530 §3, AUTHENTICATIONFAILED and UNAVAILABLE).
//   - No STARTTLS, no login: there is no way on without the TLS asked for.
package imap

import (
	"errors"

	"usher.example/sniff"
)

// Protocol is IMAP. The zero value is ready for use.
type Protocol struct{}

var _ sniff.Protocol = Protocol{}

// Name returns "imap".
func (Protocol) Name() string { return "imap" }

// ALPN returns the protocol's id in IANA's registry (RFC 7301 §6).
func (Protocol) ALPN() string { return "imap" }

// Errors that come with Quit. Those of the front blame the client, those of the
// back the back end or its configuration; none is a verdict on a password.
var (
	// ErrLine: a line is longer than the bound.
	ErrLine = errors.New("line too long")
	// ErrOctet: NUL, a bare CR or a bare LF in a line.
	ErrOctet = errors.New("NUL, bare CR or bare LF")
	// ErrLiteral: literals without waiting, or in all, exceed the bound.
	ErrLiteral = errors.New("literal too long")
	// ErrMistakes: too many bad commands.
	ErrMistakes = errors.New("too many bad commands")
	// ErrCommands: too many commands without a login.
	ErrCommands = errors.New("too many commands before login")

	// ErrPreauth: the back end greets as if we were somebody already
	// (RFC 9051 §7.1.4); whoever that is, it is not the client.
	ErrPreauth = errors.New("back end greets PREAUTH")
	// ErrStartTLS: the back end does not start the TLS that must be.
	ErrStartTLS = errors.New("back end does not start TLS")
	// ErrReply: the back end says what the protocol does not allow there.
	ErrReply = errors.New("back end breaks the protocol")
	// ErrMechanism: the back end offers no way to log in as asked.
	ErrMechanism = errors.New("back end offers no way to log in")
	// ErrMaster: the login needs a master user and the pool has none, or it
	// must not be made with one.
	ErrMaster = errors.New("login does not fit the master user")
	// ErrLoop: the login came through so many proxies that it must go in circles.
	ErrLoop = errors.New("login goes in circles between proxies")
)

// Bounds. Together they bound what one conversation keeps.
const (
	// maxLine bounds a line, CR LF included: RFC 7162 §4 asks for 8192.
	// Lines with SASL messages may have sniff.MaxSASLLine.
	maxLine = 8192

	// maxTag bounds a tag, which is echoed in every answer. Clients use a
	// dozen octets at most.
	maxTag = 128

	// maxLiteral bounds a literal before login: the longest password.
	maxLiteral = sniff.MaxPassword

	// maxCommand bounds a command with all its literals. An ID command of 30
	// fields of full length (RFC 2971 §3.3) needs 32,000 octets or so.
	maxCommand = 34 << 10

	// maxTokens bounds the arguments of a command: an ID command of 30 fields
	// and its parentheses.
	maxTokens = 2*maxFields + 2

	// maxMistakes is how many bad commands end the conversation. Dovecot takes
	// as many; a browser made to speak HTTP to us gets no further than that.
	maxMistakes = 3

	// maxCommands bounds the good commands before login: nobody needs more
	// than ten, freenginx takes 1000.
	maxCommands = 1000

	// maxFields, maxKey and maxValue bound an ID command (RFC 2971 §3.3).
	maxFields = 30
	maxKey    = 30
	maxValue  = 1024

	// maxText bounds a human-readable text that is passed on, in octets.
	maxText = 256

	// maxUntagged bounds the lines that a back end may say beside its answers,
	// a probe's SELECT included.
	maxUntagged = 256

	// maxCapabilities and maxCapability bound a list of capabilities: their
	// number, and each one's octets. Long lists have about 70.
	maxCapabilities = 256
	maxCapability   = 128

	// maxQuoted is the length above which LOGIN's arguments go to the back end
	// as literals: some servers bound quoted strings by the 1000 octets of
	// RFC 2683 §3.2.1.5.
	maxQuoted = 512
)
