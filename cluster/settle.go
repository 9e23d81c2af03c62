package cluster

import (
	"fmt"
	"strings"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// config is what this node's configuration says of what all nodes must do alike.
func (o FleetOptions) config() member.Config {
	return member.Config{Names: o.Names, KickDelay: int64(o.KickDelay), Retention: int64(o.Retention), Voters: o.Voters}
}

// settings are the first that a fleet has: its first leader's. It is called with mu
// held.
func (f *Fleet) settings() *table.Settings {
	c := f.o.config()
	return &table.Settings{
		Number: 1, Fleet: newID(), Place: place.Version, Names: c.Names, MapKey: f.newMapKey(), KickDelay: c.KickDelay, Retention: c.Retention,
	}
}

// leaderOptions are those of this node as a leader.
func (f *Fleet) leaderOptions() lead.Options {
	return lead.Options{KickDelay: int64(f.o.KickDelay), Key: f.keyBy, Flush: len(f.o.Flush) > 0, Ticket: f.newTicket, Opens: f.opensTicket, Wall: wallClock}
}

// keyBy makes a user's key by some settings. It is called with mu held.
func (f *Fleet) keyBy(s table.Settings, pool, user string) (place.Key, bool) {
	k := f.keyer.Load()
	if k == nil || k.mapKey != s.MapKey {
		key, _, err := f.openMapKey(s.MapKey)
		if err != nil {
			return 0, false
		}
		k = &keyer{mapKey: s.MapKey, keys: place.NewKeyer(key)}
	}
	return k.keys.Key(pool, user), true
}

// differs says once of each settings what of this node's configuration does not
// hold. It is called with mu held.
func (f *Fleet) differs() {
	list := strings.Join(f.o.config().Differs(f.table.Settings), "; ")
	if list != "" && list != f.differed && !f.o.Witness {
		f.log.Warn("the fleet does otherwise than this node's configuration says; the fleet's way holds until all nodes say the same", "event", "config_overruled", "differs", list)
	}
	f.differed = list
}

// disagreements has the leader say who is configured otherwise than the fleet does,
// when that changes. It is called with mu held.
func (f *Fleet) disagreements() {
	differ := f.leader.Differ()
	said := ""
	if len(differ) > 0 { // which is said in vain all the time
		said = fmt.Sprint(differ)
	}
	if said != f.disagreed {
		for _, node := range sortedKeys(differ) {
			f.log.Warn("a node is configured otherwise than its fleet", "event", "config_differs", "peer", node, "differs", strings.Join(differ[node], "; "))
		}
		f.disagreed = said
	}
	if problem := f.leader.Problem(); problem != f.problem {
		if f.problem = problem; problem != "" {
			f.log.Warn("users' names are not normalised as all nodes say", "event", "names_differ", "err", problem)
		}
	}
}

// Differences says of each node that answers what of its configuration is not what
// the fleet does, and who names other voters than this node.
func (f *Fleet) Differences() map[string][]string {
	loads, _ := f.loads() // who does not answer is missed elsewhere
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make(map[string][]string)
	for node, l := range loads {
		if l.Config == nil {
			continue
		}
		d := l.Config.Differs(f.table.Settings)
		if v := l.Config.VotersDiffer(f.o.config()); v != "" {
			d = append(d, v)
		}
		if len(d) > 0 {
			list[node] = d
		}
	}
	return list
}
