package guest

import (
	"errors"
	"testing"
)

// A verdict is a test that only records how it was ended.
type verdict struct {
	testing.TB
	skipped, failed bool
}

func (*verdict) Helper()                 {}
func (v *verdict) Skipf(string, ...any)  { v.skipped = true }
func (v *verdict) Fatalf(string, ...any) { v.failed = true }

func TestUnavailable(t *testing.T) {
	for _, tt := range []struct {
		name, ci, required string
		want               verdict
	}{
		{"a developer lacks it", "", "", verdict{skipped: true}},
		{"nobody insists", "false", "0", verdict{skipped: true}},
		{"CI lacks it", "true", "", verdict{failed: true}},
		{"make test lacks it", "", "1", verdict{failed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			t.Setenv("USHER_REQUIRE_REAL", tt.required)
			var got verdict
			unavailable(&got, errors.New("no kernel"))
			if got != tt.want {
				t.Errorf("got skipped %v, failed %v; want %v, %v", got.skipped, got.failed, tt.want.skipped, tt.want.failed)
			}
		})
	}
}
