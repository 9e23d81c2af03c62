package sniff

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"unicode"
	"unicode/utf8"
)

// MaxUser bounds a user name, in octets. RFC 5321 §4.5.3.1 allows 64+1+255 for
// an address; the rest is room for a master user's name behind a separator.
const MaxUser = 512

// MaxPassword bounds a password, in octets: what Imapproxy took, and less than
// the literal bound, so that no form of a login can exceed another.
const MaxPassword = 8192

// ErrUser means that a user name can belong to nobody: it is empty, too long,
// not UTF-8, or holds characters that no name may hold.
var ErrUser = errors.New("malformed user name")

// CheckUser refuses names that must go neither into a table, nor a log, nor a
// back end: invalid UTF-8 (which includes overlong forms and surrogates),
// control characters (NUL among them: Dovecot 2.3 cuts a name there and would
// log in somebody else than was routed), and Unicode's format characters, with
// which one name can be made to look like another.
func CheckUser(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrUser)
	case len(name) > MaxUser:
		return fmt.Errorf("%w: %d octets, at most %d", ErrUser, len(name), MaxUser)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: not UTF-8", ErrUser)
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return fmt.Errorf("%w: character %U", ErrUser, r)
		}
	}
	return nil
}

// A Secret is a password, a token or a SASL message. No way of printing shows it.
type Secret []byte

const redacted = "[redacted]"

// String returns a constant.
func (Secret) String() string { return redacted }

// GoString returns a constant.
func (Secret) GoString() string { return redacted }

// Format writes a constant, whatever the verb: %x and %v too.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns a constant.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a constant, so that no dump shows a secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Wipe overwrites the secret with zeros.
func (s Secret) Wipe() { clear(s) }

// A Mechanism is a way to log in: a SASL mechanism's registered name, or [Command].
type Mechanism string

// Mechanisms that usher knows.
const (
	Command     Mechanism = "command"       // the protocol's own: IMAP LOGIN, POP3 USER and PASS
	Plain       Mechanism = "PLAIN"         // RFC 4616
	LoginSASL   Mechanism = "LOGIN"         // draft-murchison-sasl-login: two prompts
	XOAuth2     Mechanism = "XOAUTH2"       // Google's and Microsoft's
	OAuthBearer Mechanism = "OAUTHBEARER"   // RFC 7628
	ScramSHA1   Mechanism = "SCRAM-SHA-1"   // RFC 5802
	ScramSHA256 Mechanism = "SCRAM-SHA-256" // RFC 7677
	External    Mechanism = "EXTERNAL"      // RFC 4422 Appendix A
)

// Relayed tells whether the exchange runs between client and back end, with us
// reading the first message only. The others hand us a password, or nothing.
func (m Mechanism) Relayed() bool {
	switch m {
	case XOAuth2, OAuthBearer, ScramSHA1, ScramSHA256:
		return true
	default:
		return false
	}
}

// A Login is what a client said to be let in. It is complete for mechanisms
// with a password; for relayed ones more challenges and responses follow.
type Login struct {
	Mechanism Mechanism
	// User is the name that the session is routed by: the authorization
	// identity if there is one, else the authentication identity. It has
	// passed CheckUser, and is otherwise as the client wrote it.
	User string
	// AuthID is the authentication identity (whose password it is).
	AuthID string
	// AuthzID is the authorization identity as the client wrote it, or empty.
	AuthzID string
	// Password is set unless the mechanism is relayed or External.
	Password Secret
	// Initial is the client's first SASL message, verbatim, of relayed mechanisms.
	Initial Secret
	// Before is what the client did earlier that the back end must be told,
	// or that changes our answer.
	Before Before
}

// Wipe overwrites the secrets of the login.
func (l *Login) Wipe() {
	l.Password.Wipe()
	l.Initial.Wipe()
}

// Before is what a client did ahead of his login that matters after it.
type Before struct {
	// AskedCapability: he asked for capabilities, so he may ignore those in the
	// tagged answer; they are sent untagged as well.
	AskedCapability bool
	// ID holds the fields of his ID command (RFC 2971), checked and bounded;
	// fields that only a trusted proxy may set are already gone.
	ID []Field
	// UTF8: he said UTF8 before login (RFC 6856 §2).
	UTF8 bool
	// Lang is the language he chose before login (RFC 6856 §3), or empty.
	Lang string
}

// A Field is a name and a value of an ID command. Nil is set for NIL.
type Field struct {
	Key, Value string
	Nil        bool
}

// An Acceptance is a back end's yes.
type Acceptance struct {
	// Text is its human-readable text, without response codes, printable ASCII
	// or UTF-8 without controls, bounded.
	Text string
	// Capabilities are what the back end can do: after login those of the
	// logged-in state, after a probe those before login. Nil if it did not say.
	Capabilities []string
}

// A Code is the class of a refusal, from which each protocol makes its response
// code (RFC 5530; RFC 2449 §8, RFC 3206).
type Code uint8

// Codes of Refusal.
const (
	Unavailable   Code = iota // temporary: try again later. Never to be taken for a wrong password
	AuthFailed                // wrong password or unknown user: one text for both
	AuthzFailed               // right password, but not as that user
	Expired                   // the password or the account has expired
	PrivacyNeeded             // not without TLS
	ContactAdmin              // the administrator must act
	Limit                     // too many sessions or attempts
	InUse                     // the mailbox is locked, or too soon since the last login
	ServerBug                 // a fault in a server's programme or set-up
	ShuttingDown              // the node is being stopped
	TimedOut                  // the client took too long
	BadProtocol               // the client broke the protocol
	NotPermitted              // permanent, by policy: mechanism or address not allowed
)

var codeNames = [...]string{
	"unavailable", "authfailed", "authzfailed", "expired", "privacy", "contactadmin", "limit", "inuse",
	"serverbug", "shutdown", "timeout", "protocol", "notpermitted",
}

// String returns the code's name in lower case.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown"
}

// Codes lists every code, for tests that each protocol answers each.
func Codes() []Code {
	out := make([]Code, len(codeNames))
	for i := range out {
		out[i] = Code(i)
	}
	return out
}

// A Refusal is a no, ours or a back end's.
type Refusal struct {
	Code Code
	// Text is shown to the client; empty means the protocol's usual words.
	// Authentication failures never show it: their text is always the same.
	Text string
}

// An Offer is what a front lists before login.
type Offer struct {
	// Mechanisms that may be used, in order of preference. Command is listed
	// as one of them.
	Mechanisms []Mechanism
	// Capabilities other than mechanisms, in the protocol's words, that every
	// known back end has and usher does not break.
	Capabilities []string
}

// Only returns the offer reduced to the mechanisms that keep says yes to.
func (o Offer) Only(keep func(Mechanism) bool) Offer {
	out := Offer{Capabilities: o.Capabilities}
	for _, m := range o.Mechanisms {
		if keep(m) {
			out.Mechanisms = append(out.Mechanisms, m)
		}
	}
	return out
}

// FrontOptions says how to face a client.
type FrontOptions struct {
	// Hostname is shown in the greeting.
	Hostname string
	// TLS: the connection is under TLS from its first byte.
	TLS bool
	// StartTLS: TLS may be asked for.
	StartTLS bool
	// Plaintext: logins are allowed without TLS.
	Plaintext bool
	// Peer is the user named by a verified client certificate, or empty.
	Peer string
	// Trusted: the peer is a proxy of ours, whose ID or XCLIENT data on
	// behalf of a client are believed; otherwise such fields are dropped.
	Trusted bool
	// Offer is what to list.
	Offer Offer
}

// A Depth is how far a probe goes.
type Depth uint8

// Depths of a probe.
const (
	NoProbe       Depth = iota // not a probe: a user's login
	ProbeGreeting              // greeting, capabilities, farewell
	ProbeLogin                 // and a real login; with IMAP a SELECT as well
)

// An Announcement tells a back end who the client is, where the PROXY protocol
// cannot be used.
type Announcement struct {
	// Form is what carries it; the zero value announces nothing.
	Form AnnounceForm
	// Client and Local are the client's and our own end of his connection.
	Client, Local netip.AddrPort
	// ServerName is what the client called us by (SNI), or empty.
	ServerName string
	// Session is our id of the session.
	Session string
	// TLS tells whether the client's connection is encrypted.
	TLS bool
}

// An AnnounceForm is a way to tell a back end the client's address.
type AnnounceForm uint8

// Forms of announcement; a protocol uses the one it has for both.
const (
	AnnounceNothing AnnounceForm = iota
	AnnounceID                   // IMAP ID fields x-originating-ip, …
	AnnounceXCLIENT              // XCLIENT, for POP3
)

// A Master is a back end's user who may log in as anybody.
type Master struct {
	User     string
	Password Secret
	// Separator joins the user's name and the master's in one login name
	// (Dovecot's auth_master_user_separator). Empty: SASL PLAIN with an
	// authorization identity is used.
	Separator string
}

// BackOptions says how to face a back end.
type BackOptions struct {
	// Login is what to log in with; nil for a probe of the greeting.
	// The names go to the back end as the client wrote them; what they are routed
	// by is the caller's affair.
	Login *Login
	// Master, if set, logs in for the user in place of his own password.
	Master *Master
	// StartTLS: TLS must be started before anything is said; a back end that
	// cannot is an error, never a reason to go on without.
	StartTLS bool
	// TLS: the connection is under TLS from its first byte.
	TLS bool
	// Announce is said before the login.
	Announce Announcement
	// Capabilities are what the back end is known to list before login under
	// the same protection; nil makes the conversation ask.
	Capabilities []string
	// Probe makes this a health check.
	Probe Depth
}
