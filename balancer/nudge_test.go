package balancer

import (
	"testing"

	"usher.example/balancer/forward"
)

// Loops of logins look after the engine that waits in the runtime's poller, and after no other.
func TestNudge(t *testing.T) {
	t.Parallel()
	if nudge(new(forward.Reactor)) == nil {
		t.Error("the reactor is not looked after while logins keep all processors busy")
	}
	if nudge(new(forward.Copy)) != nil {
		t.Error("goroutines that copy are to be looked after")
	}
}
