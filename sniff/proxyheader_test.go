package sniff_test

import (
	"testing"

	"usher.example/sniff"
)

func TestIsProxyHeader(t *testing.T) {
	for line, want := range map[string]bool{
		"PROXY TCP4 203.0.113.7 198.51.100.1 40000 143": true,
		"PROXY TCP6 2001:db8::1 2001:db8::2 40000 143":  true,
		"PROXY UNKNOWN":         true,
		"PROXY UNKNOWN x y":     true,
		"PROXY":                 false,
		"PROXY ":                false,
		"PROXY NOOP":            false,
		"PROXY LOGIN TCP4 x":    false,
		"proxy TCP4 1.2.3.4":    false,
		"a1 PROXY TCP4 1.2.3.4": false,
		"":                      false,
	} {
		if got := sniff.IsProxyHeader([]byte(line)); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}
