package guest

import (
	"errors"
	"os"
	"testing"
)

// errNoBoot says that a guest never got as far as starting the program.
var errNoBoot = errors.New("the guest did not boot")

// unavailable ends a test that has no guest. Who merely works on the code sees
// it skipped, with the reason; where skipping would be a hole in the proof, it
// fails.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if mustRun() {
		t.Fatalf("a guest with kernel TLS must run here (see docs/dependencies.md): %v", err)
	} else {
		t.Skipf("SKIPPED, needs a guest with kernel TLS (see docs/dependencies.md): %v", err)
	}
}

func mustRun() bool {
	return os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1"
}
