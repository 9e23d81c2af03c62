package admin

import (
	"slices"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/forward"
	"usher.example/sniff"
)

// TestEnds holds the names of the ends to those of the engine, in its order.
func TestEnds(t *testing.T) {
	var want []string
	for _, e := range forward.Ends() {
		want = append(want, e.String())
	}
	if !slices.Equal(ends, want) || len(ends) != endCount {
		t.Errorf("got %v of %d, want %v", ends, endCount, want)
	}
}

func TestVerdicts(t *testing.T) {
	want := []string{balancer.LoginOK: "ok", balancer.LoginFailed: "failed", balancer.LoginError: "error"}
	if counted := len(balancer.ListenerStats{}.Logins[0]); !slices.Equal(verdicts, want) || len(verdicts) != counted {
		t.Errorf("got %v, want %v of %d", verdicts, want, counted)
	}
}

func TestMaxName(t *testing.T) {
	if maxName != sniff.MaxUser {
		t.Errorf("got %d, want %d", maxName, sniff.MaxUser)
	}
}
