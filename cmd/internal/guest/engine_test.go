package guest_test

import (
	"os"
	"strings"
	"testing"

	"usher.example/cmd/internal/guest"
)

// The engine's own suite, over kernel TLS; TestPathsInUML runs its table. Each session that the kernel should
// carry and did not would be missing in its counters.
func TestEngineInUML(t *testing.T) {
	stat := engineIn(t, guest.UML(t), ".")
	if tx, rx := stat["TlsTxSw"], stat["TlsRxSw"]; tx != rx || tx < 500 {
		t.Errorf("the kernel sealed for %d connections and opened for %d, want as many, and at least 500", tx, rx)
	}
	if n := stat["TlsDecryptError"]; n != 1 {
		t.Errorf("%d records could not be opened, want the one that is forged", n)
	}
}

// What a kernel can do that changes keys. The rest of the suite takes minutes on
// an emulated processor.
func TestEngineInQEMU(t *testing.T) {
	stat := engineIn(t, guest.QEMU(t), "^(TestProbe|TestKeyUpdate|TestKeyUpdateOwedAtAdoption|TestForgedRecord|TestHalfCloseOfClientIsKept)$/(^$|loop)",
		rekeyVar+"=1")
	// The probe changes the keys of three connections, each way; the tests do so too.
	if tx, rx := stat["TlsTxRekeyOk"], stat["TlsRxRekeyOk"]; tx <= 6 || rx <= 6 || stat["TlsTxRekeyError"]+stat["TlsRxRekeyError"] != 0 {
		t.Errorf("keys were changed %d times for sending, %d times for receiving: %v", tx, rx, stat)
	}
}

// notThere are the tests that say nothing there: the table has a guest of its own,
// and three look into buffers of the loop for what the kernel holds, or take most
// of their time for layouts that the host runs as well.
const notThere = "^(TestPath.*|TestHalfRecords|TestHeldIsSeen|TestHalfCloses)$"

func engineIn(t *testing.T, g *guest.Guest, run string, env ...string) map[string]int64 {
	t.Helper()
	binary := guest.BuildTest(t, "usher.example/balancer/forward")
	if one := os.Getenv("USHER_GUEST_RUN"); one != "" { // to look at one test
		run = one
	}
	r, err := g.Run(t.Context(), binary, []string{"-test.v", "-test.timeout", "4m", "-test.run", run, "-test.skip", notThere}, append(env, insideVar+"=1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s booted in %v, ran for %v: %v", r.Kernel, r.Boot, r.Ran, r.TLSStat)
	if r.ExitCode != 0 || !strings.HasSuffix(r.Output, "PASS\n") {
		t.Fatalf("the tests ended with status %d:\n%s", r.ExitCode, r.Output)
	}
	return r.TLSStat
}
