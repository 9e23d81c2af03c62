package table

import (
	"errors"
	"fmt"

	"usher.example/cluster/place"
)

// Settings are what all nodes must do alike.
type Settings struct {
	// Number grows with each change.
	Number int `json:"number"`
	// Fleet tells fleets apart that have one name, so that one never takes another's
	// nodes for its own. It does not change.
	Fleet string `json:"fleet,omitempty"`
	// Keys grows with each change of what makes keys of users: a key means nothing
	// under another number.
	Keys int `json:"keys,omitempty"`
	// Place is the version of the placement function.
	Place int `json:"place"`
	// Names is how users' names are normalised.
	Names place.Names `json:"names"`
	// MapKey identifies the secret that users are hashed with, without telling it.
	MapKey string `json:"map_key"`
	// KickDelay is what a back end may need to finish after a connection closed, and
	// Retention how long a user is remembered where he was; in nanoseconds.
	KickDelay int64 `json:"kick_delay,omitempty"`
	Retention int64 `json:"retention,omitempty"`
}

// Bounds of settings. They are those of the configuration: what no node could have
// meant is a fault.
const (
	// MaxKickDelay: every change and every move may wait that long.
	MaxKickDelay int64 = 60e9
	// MaxRetention: the memory of a node holds who was here for that long.
	MaxRetention int64 = 24 * 3600e9
	// maxDomain is the longest name in the DNS, and some.
	maxDomain = 256
	// maxMapKey has room for the sealed key, of 60 octets in base64.
	maxMapKey = 1024
)

var errSettings = errors.New("settings that no node can have meant")

// check reports what is wrong with settings.
func (s Settings) check() error {
	switch {
	case s.Number <= 0 || s.Keys < 0 || s.Place < 0:
		return fmt.Errorf("%w: number %d, keys %d, place %d", errSettings, s.Number, s.Keys, s.Place)
	case s.KickDelay < 0 || s.KickDelay > MaxKickDelay || s.Retention < 0 || s.Retention > MaxRetention:
		return fmt.Errorf("%w: kick delay %d ns, retention %d ns", errSettings, s.KickDelay, s.Retention)
	case len(s.Names.DefaultDomain) > maxDomain || len(s.Names.StripDomain) > maxDomain || len(s.MapKey) > maxMapKey || len(s.Fleet) > maxMapKey:
		return fmt.Errorf("%w: a name or key that is too long", errSettings)
	}
	if err := s.Names.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	return nil
}

// set takes settings that leave all keys as they are. Old ones, and those of a change
// that has come meanwhile, do nothing.
func (t *Table) set(s Settings) error {
	now := t.Settings
	switch {
	case s.Number <= now.Number:
		return nil // said twice
	case t.Settling != nil:
		return ErrSettling
	case now.Number > 0 && (s.Keys != now.Keys || s.Names != now.Names || s.Place != now.Place):
		return fmt.Errorf("%w: what makes users' keys changes by Settle only", errSettings)
	}
	t.Settings = s
	return nil
}
