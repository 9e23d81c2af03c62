//go:build !linux

package config

// mayBind knows nothing of this system's rules, and a warning should be true.
func mayBind(int) bool { return true }

// descriptors does not know either.
func descriptors() (limit uint64, ok bool) { return 0, false }
