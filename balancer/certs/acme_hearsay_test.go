package certs

import (
	"fmt"
	"testing"

	"usher.example/balancer/certs/pebble"
)

// A node answers for a name that its configuration does not have yet, or does not have
// any more: whoever is reloaded first orders, and the CA comes to any node.
func TestChallengeOfAnotherPlan(t *testing.T) {
	t.Parallel()
	for _, how := range []Challenge{HTTP01, TLSALPN01} {
		t.Run(string(how), func(t *testing.T) {
			s := newMemory()
			orders, answers := newRig(t, s, 0, 0), newRig(t, s, anyPort, anyPort)
			ca := answers.aCA(pebble.Options{})
			const name = "new.example.org"
			orders.wants(acmeOf(issuerAt(ca, "pebble", how)), []string{name}, nil)
			verify(t, ca, orders.has(name), name)
			answers.says(`msg="a challenge is answered" challenge=` + string(how))
			if got := ca.Orders(); got != 1 {
				t.Errorf("%d orders, want 1", got)
			}
			if _, err := answers.registrar.dare(t.Context(), name); err == nil {
				t.Error("it is answered when it is gone")
			}
			if _, there := answers.registrar.heard.of(name); there {
				t.Error("it is remembered when it is gone")
			}
		})
	}
}

// What is told is bounded, other keys are none of it, and later news are not forgotten
// with earlier ones.
func TestHearsay(t *testing.T) {
	var r hearsay
	for _, key := range []string{"", "challenge_tokens", "acme/ca/challenge_tokens/x", "acme/ca/users/x.json", "x.json", "certificates/ca/x/x.json"} {
		r.hear(key)
	}
	if len(r.keys) != 0 {
		t.Errorf("got %v", r.keys)
	}
	key := challengeKey("ca", "mail.example.org")
	r.hear(key)
	first, ok := r.of("mail.example.org")
	if !ok || first.key != key {
		t.Errorf("got %v, %v", first, ok)
	}
	if _, ok := r.of("mail..example.org"); ok {
		t.Error("a name that is no host's is that of one")
	}
	r.hear(key)
	if r.forget("mail.example.org", first); len(r.keys) != 1 {
		t.Error("a later challenge is forgotten with an earlier one")
	}
	for i := range 2 * maxHeard {
		if r.hear(challengeKey("ca", fmt.Sprintf("x%d.example.org", i))); len(r.keys) > maxHeard {
			t.Fatalf("%d are remembered", len(r.keys))
		}
	}
}
