package cluster

import (
	"fmt"
	"strconv"
)

// Admin is what an administrator wants of a back end, whatever its health.
type Admin uint8

const (
	// Active takes users.
	Active Admin = iota
	// Drain keeps its live users and takes no new ones.
	Drain
	// Down serves nobody.
	Down
)

// String returns "active", "drain" or "down".
func (a Admin) String() string {
	switch a {
	case Active:
		return "active"
	case Drain:
		return "drain"
	case Down:
		return "down"
	}
	return "admin state " + strconv.Itoa(int(a))
}

// MarshalText writes the word that String returns.
func (a Admin) MarshalText() ([]byte, error) {
	if a > Down {
		return nil, fmt.Errorf("unknown %v", a)
	}
	return []byte(a.String()), nil
}

// UnmarshalText reads one of the three words.
func (a *Admin) UnmarshalText(text []byte) error {
	for _, known := range []Admin{Active, Drain, Down} {
		if string(text) == known.String() {
			*a = known
			return nil
		}
	}
	return fmt.Errorf(`admin state %q is not "active", "drain" or "down"`, text)
}
