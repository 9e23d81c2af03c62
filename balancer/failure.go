package balancer

import (
	"errors"
	"fmt"
	"log/slog"

	"usher.example/sniff"
)

// A Kind is the class of what ended or refused a session before it was
// forwarded. It decides the answer, the retry, the log level and the metric.
type Kind uint8

// Kinds of Failure. Their names are label values of usher_sessions_total.
const (
	None               Kind = iota // the session was forwarded
	ClientQuit                     // the client ended it in order
	ClientGone                     // the client closed or was lost
	ClientTimeout                  // not logged in within the limit
	ClientProtocol                 // the client broke the protocol or exceeded a bound
	ClientInjection                // plaintext behind STARTTLS
	ClientTLS                      // the handshake with the client failed
	ProxyHeader                    // a PROXY header was missing, late, malformed or from a stranger
	LimitReached                   // a limit on sessions
	Shed                           // the oldest connection without login, to make room
	AuthFailed                     // the back end refused the credentials
	Denied                         // the back end refused for another reason
	NoBackend                      // nobody can serve the user now
	BackendDial                    // the connection was refused or timed out
	BackendTLS                     // TLS with the back end failed
	BackendGreeting                // it greeted with BYE, PREAUTH or nonsense
	BackendProtocol                // it broke the protocol later
	BackendTimeout                 // it did not answer in time
	BackendGone                    // it closed before it answered
	BackendUnavailable             // it said that it cannot serve the user now
	ShuttingDown                   // the node is being stopped
	LoginTimeout                   // the time for the login was over before a back end answered
	Kicked                         // ended by an administrator or a move
	Internal                       // a fault of ours
	Challenge                      // no client: a CA has seen the answer to its challenge (RFC 8737)
	Guarded                        // not tried: too many logins have failed from there
	Exhausted                      // this node has no port, descriptor or memory for a connection to a back end
	kindCount
)

// traits of a Kind.
type traits struct {
	name  string
	code  sniff.Code // of the answer, if the back end gave none
	level slog.Level
	retry bool   // worth another try on the same back end
	fault bool   // the back end's, which health should know
	event string // code of the line in the log, where it is a warning
}

var kinds = [kindCount]traits{
	None:               {name: "none"},
	ClientQuit:         {name: "client_quit"},
	ClientGone:         {name: "client_gone"},
	ClientTimeout:      {name: "client_timeout", code: sniff.TimedOut},
	ClientProtocol:     {name: "client_protocol", code: sniff.BadProtocol},
	ClientInjection:    {name: "client_injection", code: sniff.BadProtocol, level: slog.LevelWarn},
	ClientTLS:          {name: "client_tls", code: sniff.BadProtocol},
	ProxyHeader:        {name: "proxy_header", code: sniff.BadProtocol, level: slog.LevelWarn},
	LimitReached:       {name: "limit", code: sniff.Limit, level: slog.LevelWarn, event: "limit_reached"},
	Shed:               {name: "shed", code: sniff.Unavailable, level: slog.LevelWarn, event: "connections_shed"},
	AuthFailed:         {name: "auth_failed", code: sniff.AuthFailed},
	Denied:             {name: "denied", code: sniff.NotPermitted},
	NoBackend:          {name: "no_backend", code: sniff.Unavailable, level: slog.LevelWarn},
	BackendDial:        {name: "backend_dial", code: sniff.Unavailable, level: slog.LevelWarn, retry: true, fault: true},
	BackendTLS:         {name: "backend_tls", code: sniff.Unavailable, level: slog.LevelWarn, retry: true, fault: true},
	BackendGreeting:    {name: "backend_greeting", code: sniff.Unavailable, level: slog.LevelWarn, retry: true, fault: true},
	BackendProtocol:    {name: "backend_protocol", code: sniff.Unavailable, level: slog.LevelWarn, fault: true},
	BackendTimeout:     {name: "backend_timeout", code: sniff.Unavailable, level: slog.LevelWarn, fault: true},
	BackendGone:        {name: "backend_gone", code: sniff.Unavailable, level: slog.LevelWarn, retry: true, fault: true},
	BackendUnavailable: {name: "backend_unavailable", code: sniff.Unavailable, level: slog.LevelWarn, retry: true},
	ShuttingDown:       {name: "shutting_down", code: sniff.ShuttingDown},
	LoginTimeout:       {name: "login_timeout", code: sniff.Unavailable, level: slog.LevelWarn},
	Kicked:             {name: "kicked", code: sniff.Unavailable},
	Internal:           {name: "internal", code: sniff.ServerBug, level: slog.LevelError},
	Challenge:          {name: "acme_challenge", level: slog.LevelDebug},
	Guarded:            {name: "guarded", code: sniff.Limit},
	Exhausted:          {name: "exhausted", code: sniff.Unavailable, level: slog.LevelWarn, event: "resources_exhausted"},
}

// String returns the kind's name as metrics and logs show it.
func (k Kind) String() string {
	if k < kindCount {
		return kinds[k].name
	}
	return "unknown"
}

// Kinds lists every Kind in order.
func Kinds() []Kind {
	out := make([]Kind, kindCount)
	for i := range out {
		out[i] = Kind(i)
	}
	return out
}

// A Failure is why a session or a login did not come about.
type Failure struct {
	Kind Kind
	Err  error
	// Refusal is what the back end said, nil where the words are ours.
	Refusal *sniff.Refusal
	// sent: the back end may have got the credentials. It is not tried again
	// unless it said itself that it cannot serve now.
	sent bool
}

func fail(k Kind, format string, args ...any) *Failure {
	return &Failure{Kind: k, Err: fmt.Errorf(format, args...)}
}

// Error names the kind and the cause.
func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Kind.String()
	}
	return f.Kind.String() + ": " + f.Err.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// answer is what the client is told.
func (f *Failure) answer() sniff.Refusal {
	if f.Refusal != nil {
		return *f.Refusal
	}
	return sniff.Refusal{Code: kinds[f.Kind].code}
}

// asFailure finds the Failure in err; anything else is a fault of ours.
func asFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Kind: Internal, Err: err}
}
