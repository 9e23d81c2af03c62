package cluster

import (
	"errors"
	"strings"
)

// Conditions that callers tell apart with errors.Is. All but ErrNoPool and
// ErrUnknownBackend are temporary and never the user's fault.
var (
	// ErrNoPool: the pool is not configured.
	ErrNoPool = errors.New("no such pool")
	// ErrUnknownBackend: the pool has no back end of that name.
	ErrUnknownBackend = errors.New("no such back end")
	// ErrNoBackend: nobody may serve the user now. The error is a
	// *NoBackendError.
	ErrNoBackend = errors.New("no usable back end")
	// ErrMoving: the user's old sessions, on a back end that went down, have
	// not ended yet.
	ErrMoving = errors.New("user is being moved")
)

// NoBackendError says which back ends cannot serve a user, and why.
type NoBackendError struct {
	Pool string
	// Own is the one back end that may serve the user, where storage is
	// local. Empty: any of the pool might.
	Own string
	// Unusable are the back ends that might serve him, by name; empty if
	// there is none of the kind.
	Unusable []Unusable
}

// Unusable is one back end that takes no new user.
type Unusable struct {
	Backend string
	// Why is one of "health", "admin down", "drain", "weight 0", "unknown"
	// (to the pool).
	Why string
}

// Error names pool and back ends, never the user.
func (e *NoBackendError) Error() string {
	var s strings.Builder
	s.WriteString("pool " + e.Pool + ": " + ErrNoBackend.Error())
	if e.Own != "" {
		s.WriteString(" but the user's own")
	}
	for i, u := range e.Unusable {
		if i == 0 {
			s.WriteString(": ")
		} else {
			s.WriteString(", ")
		}
		s.WriteString(u.Backend + " (" + u.Why + ")")
	}
	return s.String()
}

// Is makes every NoBackendError an ErrNoBackend.
func (e *NoBackendError) Is(target error) bool { return target == ErrNoBackend }
