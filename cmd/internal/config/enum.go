package config

import "crypto/tls"

// An enum is a text with a closed list of values. The list is what errors and
// the reference name.
type enum interface {
	Allowed() []string
}

// LogLevel is the least severe level that is logged.
type LogLevel string

// The levels of log/slog.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// Allowed lists the values.
func (LogLevel) Allowed() []string { return list(LogDebug, LogInfo, LogWarn, LogError) }

// LogFormat is the shape of a log line.
type LogFormat string

// The handlers of log/slog.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Allowed lists the values.
func (LogFormat) Allowed() []string { return list(LogText, LogJSON) }

// DataPath is how bytes of established sessions move.
type DataPath string

// The data paths.
const (
	PathAuto   DataPath = "auto"
	PathKernel DataPath = "ktls"
	PathUser   DataPath = "user"
	PathCopy   DataPath = "copy"
)

// Allowed lists the values.
func (DataPath) Allowed() []string { return list(PathAuto, PathKernel, PathUser, PathCopy) }

// WhenIsolated is what a node does that has lost its fleet.
type WhenIsolated string

// The two: rather somewhere, or rather nowhere.
const (
	IsolatedServe  WhenIsolated = "serve"
	IsolatedRefuse WhenIsolated = "refuse"
)

// Allowed lists the values.
func (WhenIsolated) Allowed() []string { return list(IsolatedServe, IsolatedRefuse) }

// Protocol is what a listener speaks.
type Protocol string

// The protocols.
const (
	IMAP Protocol = "imap" // RFC 3501, RFC 9051
	POP3 Protocol = "pop3" // RFC 1939
)

// Allowed lists the values.
func (Protocol) Allowed() []string { return list(IMAP, POP3) }

// TLSMode is when TLS begins on a connection.
type TLSMode string

// The modes, safest first (RFC 8314 §3).
const (
	TLSImplicit TLSMode = "implicit" // from the first byte
	TLSStart    TLSMode = "starttls" // by STARTTLS, or STLS in POP3
	TLSNone     TLSMode = "none"     // never
)

// Allowed lists the values.
func (TLSMode) Allowed() []string { return list(TLSImplicit, TLSStart, TLSNone) }

// TLSVersion is a version of TLS as people write it.
type TLSVersion string

// The versions.
const (
	TLS10 TLSVersion = "1.0"
	TLS11 TLSVersion = "1.1"
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// Allowed lists the values.
func (TLSVersion) Allowed() []string { return list(TLS10, TLS11, TLS12, TLS13) }

// Number is the version as crypto/tls counts it, for tls.Config.MinVersion.
func (v TLSVersion) Number() uint16 {
	switch v {
	case TLS10:
		return tls.VersionTLS10
	case TLS11:
		return tls.VersionTLS11
	case TLS13:
		return tls.VersionTLS13
	default: // TLS12, and the zero value
		return tls.VersionTLS12
	}
}

// Mechanism is a SASL mechanism by its registered name.
type Mechanism string

// The mechanisms that usher can place a user by, before it knows a back end.
const (
	Plain       Mechanism = "PLAIN"         // RFC 4616
	Login       Mechanism = "LOGIN"         // draft-murchison-sasl-login
	XOAuth2     Mechanism = "XOAUTH2"       // Google's
	OAuthBearer Mechanism = "OAUTHBEARER"   // RFC 7628
	ScramSHA1   Mechanism = "SCRAM-SHA-1"   // RFC 5802
	ScramSHA256 Mechanism = "SCRAM-SHA-256" // RFC 7677
	External    Mechanism = "EXTERNAL"      // RFC 4422 appendix A
)

// Allowed lists the values.
func (Mechanism) Allowed() []string {
	return list(Plain, Login, XOAuth2, OAuthBearer, ScramSHA1, ScramSHA256, External)
}

// Storage is who has a user's mailbox.
type Storage string

// The kinds.
const (
	Shared Storage = "shared" // every back end
	Local  Storage = "local"  // the user's own back end
)

// Allowed lists the values.
func (Storage) Allowed() []string { return list(Shared, Local) }

// Depth is how much of a back end a probe tries.
type Depth string

// The depths, each with what the one before tries.
const (
	DepthConnect  Depth = "connect"
	DepthGreeting Depth = "greeting"
	DepthLogin    Depth = "login"
)

// Allowed lists the values.
func (Depth) Allowed() []string { return list(DepthConnect, DepthGreeting, DepthLogin) }

// ClientAddress is the way in which a back end learns the client's address.
type ClientAddress string

// The ways.
const (
	AddressProxy2  ClientAddress = "proxy2"  // PROXY header, version 2
	AddressProxy1  ClientAddress = "proxy1"  // PROXY header, version 1
	AddressCommand ClientAddress = "command" // IMAP ID x-originating-ip, POP3 XCLIENT
	AddressNone    ClientAddress = "none"    // not at all
)

// Allowed lists the values.
func (ClientAddress) Allowed() []string {
	return list(AddressProxy2, AddressProxy1, AddressCommand, AddressNone)
}

func list[E ~string](values ...E) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return texts
}
