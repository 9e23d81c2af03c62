package forward

import (
	"os"
	"strings"
	"testing"

	"usher.example/balancer/record"
)

// Set in a guest, where the tests of this package run over kernel TLS; see
// cmd/internal/guest.
const (
	insideVar = "USHER_GUEST"       // any guest
	rekeyVar  = "USHER_GUEST_REKEY" // its kernel can change the keys of TLS
)

// testKernel is the mode of the tests' reactors.
func testKernel() KernelMode {
	if os.Getenv(insideVar) != "" {
		return KernelAlways
	}
	return KernelOff
}

// TestProbe: in a guest the kernel does all suites; which kernel can change keys is
// known there. Elsewhere it may be either, but must not be said to fail for
// another reason than that it has no TLS.
func TestProbe(t *testing.T) {
	k := ProbeKernel()
	t.Logf("suites %#04x, rekey %v, %v", k.Suites, k.Rekey, k.Err)
	if os.Getenv(insideVar) == "" {
		if k.Err != nil && !strings.Contains(k.Err.Error(), "the kernel has no TLS") {
			t.Errorf("probe: %v", k.Err)
		}
		return
	}
	want := len(record.Suites(record.TLS13)) + len(record.Suites(record.TLS12))
	if len(k.Suites) != want || k.Err != nil {
		t.Errorf("%d suites, want %d: %v", len(k.Suites), want, k.Err)
	}
	if got := os.Getenv(rekeyVar) != ""; got != k.Rekey {
		t.Errorf("keys can be changed: %v, want %v", k.Rekey, got)
	}
}
