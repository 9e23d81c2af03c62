package guest_test

import (
	"strings"
	"testing"

	"usher.example/cmd/internal/guest"
)

// notInGuests are tests of package balancer that cannot run there: the kernel of
// user-mode-linux has no IPv6, where TestReload adds a listener.
const notInGuests = "^TestReload$"

// The suite of package balancer, from accept to the account of a session, with
// kernel TLS behind every login: in the guest its rig lets no session go another
// way.
func TestBalancerInUML(t *testing.T) {
	g := guest.UML(t)
	r, err := g.Run(t.Context(), guest.BuildTest(t, "usher.example/balancer"),
		[]string{"-test.v", "-test.timeout", "4m50s", "-test.skip", notInGuests}, []string{insideVar + "=1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s booted in %v, ran for %v: %v", r.Kernel, r.Boot, r.Ran, r.TLSStat)
	if r.ExitCode != 0 || !strings.HasSuffix(r.Output, "PASS\n") {
		t.Fatalf("the tests ended with status %d:\n%s", r.ExitCode, r.Output)
	}
	// Most of them are the probes of as many engines as there are rigs.
	if tx, rx := r.TLSStat["TlsTxSw"], r.TLSStat["TlsRxSw"]; tx != rx || tx < 500 || r.TLSStat["TlsCurrTxSw"] != 0 {
		t.Errorf("the kernel sealed for %d connections and opened for %d, want as many, and none left: %v", tx, rx, r.TLSStat)
	}
}
