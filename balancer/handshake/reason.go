package handshake

import "sync/atomic"

// A Reason says why a session stays on crypto/tls.
type Reason uint8

// Reasons.
const (
	Covered    Reason = iota // none: the keys are out
	Configured               // Options.Copy
	FIPS                     // see record.Usable
	Version                  // older than TLS 1.2
	Suite                    // CBC, or RSA key exchange, or one that is new to us
	Secrets                  // the key log did not say what it should
	SelfCheck                // the keys do not explain what the handshake sent
)

var reasonNames = [...]string{"covered", "configured", "fips", "version", "suite", "secrets", "self_check"}

// Reasons lists every Reason in order.
func Reasons() []Reason {
	return []Reason{Covered, Configured, FIPS, Version, Suite, Secrets, SelfCheck}
}

// String returns the reason's name as logs and metrics show it.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Stats counts handshakes that succeeded. The zero value is ready; it may be
// shared by many Configs and used by many goroutines.
type Stats struct {
	done, held [len(reasonNames)]atomic.Uint64
}

// Done returns how many handshakes ended with r, [Covered] included.
func (s *Stats) Done(r Reason) uint64 { return s.done[r].Load() }

// Hold counts a session that could have left crypto/tls and must not, since the other
// side of it stays there for a reason.
func (s *Stats) Hold(r Reason) { s.held[r].Add(1) }

// Fell returns how many sessions stay on crypto/tls, or with it, for r.
func (s *Stats) Fell(r Reason) uint64 { return s.done[r].Load() + s.held[r].Load() }

func (s *Stats) count(r Reason) {
	if s != nil {
		s.done[r].Add(1)
	}
}
