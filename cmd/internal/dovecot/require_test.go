package dovecot

import (
	"testing"
)

// A verdict is a test that only records how Require ended it.
type verdict struct {
	testing.TB
	skipped, failed bool
}

func (*verdict) Helper()                 {}
func (v *verdict) Skipf(string, ...any)  { v.skipped = true }
func (v *verdict) Fatalf(string, ...any) { v.failed = true }

func TestRequire(t *testing.T) {
	const missing = "a-program-that-nobody-has"
	for _, tt := range []struct {
		name, ci, required string
		programs           []string
		want               verdict
	}{
		{"a developer lacks it", "", "", []string{missing}, verdict{skipped: true}},
		{"one of several is missing", "", "", []string{"sh", missing, "cat"}, verdict{skipped: true}},
		{"CI lacks it", "true", "", []string{missing}, verdict{failed: true}},
		{"make test lacks it", "", "1", []string{missing}, verdict{failed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			t.Setenv("USHER_REQUIRE_REAL", tt.required)
			var got verdict
			Require(&got, tt.programs...)
			if got != tt.want {
				t.Errorf("got skipped %v, failed %v; want %v, %v", got.skipped, got.failed, tt.want.skipped, tt.want.failed)
			}
		})
	}
	t.Run("all is there", func(t *testing.T) {
		Require(t)
		var got verdict
		Require(&got, "sh", "cat")
		if got != (verdict{}) {
			t.Errorf("got skipped %v, failed %v; want neither", got.skipped, got.failed)
		}
	})
}
