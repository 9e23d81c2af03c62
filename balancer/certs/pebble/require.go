package pebble

import (
	"os"
	"os/exec"
	"testing"
)

// programs are what Debian's package pebble has.
var programs = []string{"pebble", "pebble-challtestsrv"}

// Require ends the test unless Pebble is installed. Who merely works on the code
// sees the test skipped, with the reason; where CI=true or USHER_REQUIRE_REAL=1 is
// set (make test sets it) the test fails instead, since there a skipped test would
// be a hole in the proof.
func Require(t testing.TB) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		} else if os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1" {
			t.Fatalf("the real programs must be here (make test installs them): %v", err)
		} else {
			t.Skipf("SKIPPED, needs real programs (make test installs them): %v", err)
		}
	}
}
