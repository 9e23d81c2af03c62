package guest_test

import (
	"os"
	"strings"
	"testing"

	"usher.example/cmd/internal/guest"
)

// Set in a guest, for tests that run on both sides.
const (
	insideVar = "USHER_GUEST"       // any guest
	rekeyVar  = "USHER_GUEST_REKEY" // its kernel can change the keys of TLS
)

func requireInside(t *testing.T) {
	t.Helper()
	if os.Getenv(insideVar) == "" {
		t.Skip("for a guest's kernel: TestUML and TestQEMU run it there")
	}
}

// inside are the tests that a guest runs.
const inside = "^(TestKernelTLS|TestRecords|TestRekey)$"

func TestUML(t *testing.T) {
	proveTLS(t, guest.UML(t), map[string]int64{
		"TlsTxSw": 19, "TlsRxSw": 18, "TlsDecryptError": 0,
	})
}

func TestQEMU(t *testing.T) {
	proveTLS(t, guest.QEMU(t), map[string]int64{
		"TlsTxSw": 19, "TlsRxSw": 18, "TlsDecryptError": 0, "TlsTxRekeyOk": 1, "TlsRxRekeyOk": 1,
	}, rekeyVar+"=1")
}

// proveTLS runs this very test program in a guest. The kernel's own counters,
// which start at zero, show that no test was passed by going around it.
func proveTLS(t *testing.T, g *guest.Guest, want map[string]int64, env ...string) {
	t.Helper()
	binary := guest.BuildTest(t, "usher.example/cmd/internal/guest")
	r, err := g.Run(t.Context(), binary,
		[]string{"-test.v", "-test.run", inside, "-test.timeout", "2m"}, append(env, insideVar+"=1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s booted in %v, ran for %v", r.Kernel, r.Boot, r.Ran)
	if r.ExitCode != 0 || !strings.HasSuffix(r.Output, "PASS\n") {
		t.Fatalf("the tests ended with status %d:\n%s", r.ExitCode, r.Output)
	}
	for _, name := range []string{"TestKernelTLS", "TestRecords", "TestRekey"} {
		if !strings.Contains(r.Output, "--- PASS: "+name) {
			t.Errorf("%s did not run:\n%s", name, r.Output)
		}
	}
	for name, count := range want {
		if got, ok := r.TLSStat[name]; got != count || !ok {
			t.Errorf("%s: got %d, want %d, in %v", name, got, count, r.TLSStat)
		}
	}
}
