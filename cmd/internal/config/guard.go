package config

import "net/netip"

// Guard is the [guard] table.
type Guard struct {
	// Failed logins make the next ones from the same address, network and user
	// slower: the answer to a failure comes after 2, 4, 8 and then 15 seconds, and
	// who goes on failing is tried at the back end once in five minutes at last, an
	// address that fails as many users once in fifteen.
	// Users who have logged in from an address before are not slowed by what others
	// do there. `usher penalty list` shows who is slowed.
	Enabled bool `toml:"enabled" default:"true"`

	// Networks that are not slowed, and whose addresses have no limit of their own
	// (sessions_per_address), because many users are behind each: webmail hosts, and
	// other proxies that do not tell the client's address. Those of a listener's
	// trusted_networks need not be named, nor this host itself.
	ExemptNetworks []netip.Prefix `toml:"exempt_networks" default:"[]" example:"[\"192.0.2.20\", \"2001:db8:7::/48\"]"`
}
