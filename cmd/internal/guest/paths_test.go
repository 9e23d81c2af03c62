package guest_test

import (
	"cmp"
	"os"
	"strings"
	"testing"

	"usher.example/cmd/internal/guest"
)

// bulkVar says how many octets are a bulk to the table of data paths.
const bulkVar = "USHER_PATHS_BULK"

// The table of cases that balancer/forward holds every data path to, over kernel
// TLS. In the guest each session is held to the kernel's counters as well.
func TestPathsInUML(t *testing.T) {
	stat := pathsIn(t, guest.UML(t), "^TestPath", bulkVar+"=262144")
	for name, least := range map[string]int64{"TlsTxSw": 500, "TlsRxSw": 500, "TlsDecryptError": 50} {
		if stat[name] < least {
			t.Errorf("%s is %d, want at least %d: %v", name, stat[name], least, stat)
		}
	}
}

// What takes a kernel that can change keys. The other cases are shown by
// user-mode-linux, and take two minutes on an emulated processor: they are left to
// USHER_LONG=1, since a newer kernel reads and splices by other code.
func TestPathsInQEMU(t *testing.T) {
	run, forged := "^TestPath(KeyUpdate|KeyUpdateInBulk|KeyUpdateFlood|Tickets|OpenSSL|Auto)$", false
	if os.Getenv("USHER_LONG") != "" {
		run, forged = "^TestPath", true
	}
	stat := pathsIn(t, guest.QEMU(t), run, bulkVar+"=262144", rekeyVar+"=1")
	for name, least := range map[string]int64{"TlsTxSw": 100, "TlsRxSw": 100, "TlsTxRekeyOk": 50, "TlsRxRekeyOk": 100} {
		if stat[name] < least {
			t.Errorf("%s is %d, want at least %d: %v", name, stat[name], least, stat)
		}
	}
	if stat["TlsRxRekeyError"]+stat["TlsTxRekeyError"] != 0 || (stat["TlsDecryptError"] != 0) != forged {
		t.Errorf("the kernel met errors, or missed forgeries: %v", stat)
	}
}

// pathsIn runs tests of balancer/forward in a guest, those of kernel TLS and their
// like. USHER_GUEST_RUN chooses others.
func pathsIn(t *testing.T, g *guest.Guest, run string, env ...string) map[string]int64 {
	t.Helper()
	g.AddProgram("openssl")
	r, err := g.Run(t.Context(), guest.BuildTest(t, "usher.example/balancer/forward"),
		[]string{"-test.v", "-test.timeout", "4m50s", "-test.run", cmp.Or(os.Getenv("USHER_GUEST_RUN"), run)},
		append(env, insideVar+"=1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s booted in %v, ran for %v: %v", r.Kernel, r.Boot, r.Ran, r.TLSStat)
	if r.ExitCode != 0 || !strings.HasSuffix(r.Output, "PASS\n") {
		t.Fatalf("the tests ended with status %d:\n%s", r.ExitCode, r.Output)
	}
	if !strings.Contains(r.Output, "/ktls/") {
		t.Errorf("nothing was run over kernel TLS:\n%s", r.Output)
	}
	return r.TLSStat
}
