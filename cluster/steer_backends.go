package cluster

import (
	"slices"

	"usher.example/cluster/lead"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// FleetBackend is a back end as the whole fleet sees it.
type FleetBackend struct {
	Pool     string `json:"pool"`
	Name     string `json:"name"`
	Address  string `json:"address,omitempty"`
	Weight   int    `json:"weight"`
	Override bool   `json:"override,omitempty"` // the weight is an administrator's
	Admin    string `json:"admin"`              // active, drain, evacuate or down
	Up       bool   `json:"up"`                 // by the health that most nodes see
	State    string `json:"state"`              // of both: up, drain, down; or removed, while users are live on it
	// Changing: nodes are being brought in line with the pool's next view.
	Changing bool   `json:"changing,omitempty"`
	Users    int    `json:"users"`           // live, on all nodes that answered; one on two nodes counts twice
	Holds    int    `json:"holds"`           // their sessions and logins
	Since    int64  `json:"since,omitempty"` // when it last changed, in Unix seconds
	By       string `json:"by,omitempty"`    // and by whom
	// From is where it is defined, FromFile or FromCommand. The fleet does not know it:
	// who lists them fills it in.
	From string `json:"from,omitempty"`
}

// What FleetBackend.From says.
const (
	FromFile    = "file"
	FromCommand = "command"
)

// Backends lists the back ends of all pools. The error names the nodes whose users
// are missing in the counts.
func (f *Fleet) Backends() ([]FleetBackend, error) {
	loads, err := f.loads()
	users, holds := make(map[uint16]int), make(map[uint16]int)
	for _, l := range loads {
		for id, n := range l.Users {
			users[id] += n
			holds[id] += l.Holds[id]
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listed(users, holds), err
}

// listed lists them with counts by the fleet's number of a back end. It is called
// with mu held.
func (f *Fleet) listed(users, holds map[uint16]int) []FleetBackend {
	list := []FleetBackend{}
	for _, name := range sortedKeys(f.table.Pools) {
		p := f.table.Pools[name]
		first := len(list)
		for _, id := range sortedIDs(p.Backends) {
			if b := p.Backends[id]; !b.Removed || users[id] > 0 {
				list = append(list, fleetBackend(p, b, users[id], holds[id]))
			}
		}
		slices.SortStableFunc(list[first:], func(a, b FleetBackend) int { return compare(a.Name, b.Name) })
	}
	return list
}

func fleetBackend(p *table.Pool, b *table.Backend, users, holds int) FleetBackend {
	row := FleetBackend{
		Pool: p.Name, Name: b.Name, Address: b.Address, Weight: b.Weight, Admin: string(b.Admin), Up: b.Up,
		State: "removed", Changing: !lead.Settled(p), Users: users, Holds: holds, Since: b.Since, By: b.By,
	}
	if b.Over != nil {
		row.Weight, row.Override = *b.Over, true
	}
	if !b.Removed {
		row.State = place.Down.String()                                                // unless the view says otherwise
		if v, active := p.Active.Find(b.ID); active && (b.Up || v.State != place.Up) { // see Status
			row.State = v.State.String()
		}
	}
	return row
}
