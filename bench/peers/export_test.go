package peers

import "testing"

// LookNowhere has programs be found in PATH only, until the test ends.
func LookNowhere(t *testing.T) {
	before := beyond
	t.Cleanup(func() { beyond = before })
	beyond = nil
}
