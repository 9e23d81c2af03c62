package member

import (
	"fmt"
	"slices"
	"strings"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// A Config is what a node's configuration says about things that all nodes must do
// alike. What holds is in the table; it becomes what all nodes say.
type Config struct {
	Names     place.Names `json:"names"`
	KickDelay int64       `json:"kick_delay"`
	Retention int64       `json:"retention"`
	Voters    []string    `json:"voters,omitempty"`
}

// Equal says whether two configurations say the same.
func (c Config) Equal(o Config) bool { return c.Same(o) && slices.Equal(c.voters(), o.voters()) }

// Same is Equal without the voters, which are in no table.
func (c Config) Same(o Config) bool {
	return c.Names == o.Names && c.KickDelay == o.KickDelay && c.Retention == o.Retention
}

// voters lists them in order: how they are written does not matter.
func (c Config) voters() []string { return slices.Sorted(slices.Values(c.Voters)) }

// Differs says what of a node's configuration is not what the fleet does, in words
// for people. Settings that were never made differ from nothing.
func (c Config) Differs(s table.Settings) []string {
	if s.Number == 0 {
		return nil
	}
	var list []string
	add := func(key string, own, fleet any) {
		list = append(list, fmt.Sprintf("%s is %v, the fleet's is %v", key, own, fleet))
	}
	if c.Names.LowerCase != s.Names.LowerCase {
		add("users.lower_case", c.Names.LowerCase, s.Names.LowerCase)
	}
	if c.Names.DefaultDomain != s.Names.DefaultDomain {
		add("users.default_domain", fmt.Sprintf("%q", c.Names.DefaultDomain), fmt.Sprintf("%q", s.Names.DefaultDomain))
	}
	if c.Names.StripDomain != s.Names.StripDomain {
		add("users.strip_domain", fmt.Sprintf("%q", c.Names.StripDomain), fmt.Sprintf("%q", s.Names.StripDomain))
	}
	if c.KickDelay != s.KickDelay {
		add("fleet.kick_delay", span(c.KickDelay), span(s.KickDelay))
	}
	if c.Retention != s.Retention {
		add("fleet.retention", span(c.Retention), span(s.Retention))
	}
	return list
}

// span writes a time for people.
func span(d int64) string {
	if d%Second == 0 {
		return fmt.Sprintf("%ds", d/Second)
	}
	return fmt.Sprintf("%dms", d/Millisecond)
}

// VotersDiffer says in words that another node names other voters, or nothing.
func (c Config) VotersDiffer(o Config) string {
	if slices.Equal(c.voters(), o.voters()) {
		return ""
	}
	return fmt.Sprintf("fleet.voters are %s, elsewhere %s", strings.Join(c.voters(), " "), strings.Join(o.voters(), " "))
}
