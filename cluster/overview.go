package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
	"usher.example/health"
)

// Where says where a login of the user would go, and why. It changes nothing.
// The error is ErrNoPool.
func (f *Fleet) Where(pool, user string) (Whereabouts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, _, name, ok := f.key(pool, user) // under the lock: of the table's settings
	w := Whereabouts{Pool: pool, User: name}
	p := f.table.Pools[pool]
	if p == nil || !ok || removed(p) {
		return Whereabouts{}, fmt.Errorf("pool %q: %w", pool, ErrNoPool)
	}
	if pin, ok := f.table.Pins.Find(key); ok {
		w.Pin, w.File = pin.Backend, pin.File
	}
	if id, ok := p.Active.Home(key); ok {
		w.Home = nameOf(p, id)
	}
	if id, ok := p.Stays[key]; ok {
		w.Stay = nameOf(p, id)
	}
	if id, n, ok := f.node.At(key); ok {
		w.Holds = n
		if w.Stay == "" {
			w.Stay = nameOf(p, id)
		}
	}
	at := f.table.Where(p, key)
	w.Place, w.Why = nameOf(p, at.Backend), at.Why
	switch {
	case at.Hold == table.Moving:
		m := f.table.Moving(key)
		w.Error = fmt.Sprintf("%v to %s by %s; logins wait", ErrMoving, m.Target, m.By)
	case at.Hold == table.Changing:
		w.Error = ErrHeld.Error() + " with the pool's view; logins wait"
	case !at.OK:
		w.Error = f.noBackend(pool, key, w.Place).Error()
		w.Place = ""
	}
	return w, nil
}

// Status lists the pools and their back ends, by name; no name appears twice.
func (f *Fleet) Status() []PoolStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status(f.node.Load())
}

// Usable counts the back ends of each pool that logins are sent to, as Status does. It
// looks at no user, and so may be called often.
func (f *Fleet) Usable() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	usable := make(map[string]int)
	for _, p := range f.status(nil, nil) {
		usable[p.Name] = p.Usable
	}
	return usable
}

// status is called with mu held.
func (f *Fleet) status(users, holds map[uint16]int) []PoolStatus {
	list := make([]PoolStatus, 0, len(f.table.Pools))
	for _, name := range sortedKeys(f.table.Pools) {
		p := f.table.Pools[name]
		st := PoolStatus{Name: name, Storage: p.Storage.String(), Backends: []BackendStatus{}}
		at := make(map[string]int)
		for _, id := range sortedIDs(p.Backends) {
			b := p.Backends[id]
			row := BackendStatus{Name: b.Name, Weight: b.Weight, Admin: admins[b.Admin], Up: b.Up, State: "removed", Users: users[id], Holds: holds[id]}
			if b.Over != nil {
				row.Weight = *b.Over
			}
			v, active := p.Active.Find(id)
			switch {
			case b.Removed:
			case active && (b.Up || v.State != place.Up):
				row.State = v.State.String()
			default:
				row.State = place.Down.String() // it will be there in a moment, or is kept for want of another
			}
			// Without anybody up the view keeps all: it helps nobody to close what
			// there is. Usable they are not.
			if b.Up && v.State != place.Down && active && (v.State == place.Up || p.Active.Storage() == place.Local) && !b.Removed {
				st.Usable++
			}
			if b.Removed && row.Users == 0 {
				continue
			}
			if i, twice := at[b.Name]; twice {
				if b.Removed {
					st.Backends[i].Former += row.Users
					continue
				}
				row.Former += st.Backends[i].Users
				st.Backends[i] = row
				continue
			}
			at[b.Name] = len(st.Backends)
			st.Backends = append(st.Backends, row)
		}
		if len(st.Backends) == 0 && removed(p) {
			continue // what is left of it ends with the next sweeps
		}
		slices.SortFunc(st.Backends, func(a, b BackendStatus) int { return compare(a.Name, b.Name) })
		list = append(list, st)
	}
	return list
}

// removed says whether a pool is configured no more.
func removed(p *table.Pool) bool {
	for _, b := range p.Backends {
		if !b.Removed {
			return false
		}
	}
	return len(p.Backends) > 0
}

var admins = map[table.Admin]Admin{table.Active: Active, table.Draining: Drain, table.Evacuate: Drain, table.Down: Down}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func sortedIDs[V any](m map[uint16]V) []uint16 { return slices.Sorted(maps.Keys(m)) }

// unusable says why a back end takes no new users.
func unusable(b *table.Backend, v place.Backend, active bool) string {
	switch {
	case b.Admin == table.Down:
		return "admin down"
	case !b.Up || !active || v.State == place.Down:
		return "health"
	case b.Admin == table.Draining || b.Admin == table.Evacuate:
		return "drain"
	}
	return "weight 0"
}

// An Overview is the fleet as this node sees it.
type Overview struct {
	Fleet    string      `json:"fleet"`
	Node     string      `json:"node"`
	Leader   string      `json:"leader,omitempty"`
	Quorum   bool        `json:"quorum"`
	Isolated bool        `json:"isolated"`
	Applied  uint64      `json:"applied"`
	Members  []NodeState `json:"members"`
	Moves    int         `json:"moves"`
	Pins     int         `json:"pins"`
	Stays    int         `json:"stays"`
	Changes  []string    `json:"changes,omitempty"` // pools whose view is changing
	Error    string      `json:"error,omitempty"`
	// Secrets are the versions of the fleet's secret that the node has, by
	// Secret.Print, the one in use first.
	Secrets []string `json:"secrets,omitempty"`
	Vault   Vault    `json:"vault"`
}

// NodeState is a node of the fleet.
type NodeState struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Role    string `json:"role"`  // voter, witness or member
	State   string `json:"state"` // alive or absent, by gossip
	Counted bool   `json:"counted"`
	Life    uint64 `json:"life"`
	Leads   bool   `json:"leads"`
	// Owes is what others wait for it to do, in words.
	Owes []string `json:"owes,omitempty"`
	// Secrets are as in Overview; none of a node that is absent.
	Secrets []string `json:"secrets,omitempty"`
}

// Overview shows the fleet.
func (f *Fleet) Overview() Overview {
	alive := f.alive()
	_, id := f.raft.LeaderWithID()
	leader, _, _ := cutID(id)
	now := bootTime()
	f.mu.Lock()
	defer f.mu.Unlock()
	o := Overview{
		Fleet: f.o.Fleet, Node: f.o.Node, Leader: leader, Quorum: leader != "", Isolated: !f.o.Witness && !f.node.Leased(now), Applied: f.applied,
		Moves: len(f.table.Moves), Pins: f.table.Pins.Len(), Members: []NodeState{},
		Secrets: prints(*f.secrets.Load()), Vault: f.vault(),
	}
	if f.fatal != nil {
		o.Error = f.fatal.Error()
	}
	for _, name := range sortedKeys(f.table.Pools) {
		p := f.table.Pools[name]
		o.Stays += len(p.Stays)
		if p.Next != nil {
			o.Changes = append(o.Changes, name)
		}
	}
	seen := make(map[string]bool)
	add := func(name, address string, m *table.Member) {
		s := NodeState{Node: name, Address: address, Role: "member", State: "absent", Leads: name == leader}
		if f.voter(name) {
			s.Role = "voter"
		}
		p, there := alive[name]
		s.Secrets = p.Secrets
		if there || f.gossip == nil {
			s.State = "alive"
		}
		if p.Witness || m != nil && m.Witness {
			s.Role = "witness"
		}
		if m != nil {
			s.Counted, s.Life, s.Owes = m.Counted, m.Life, f.owes(m)
		}
		seen[name] = true
		o.Members = append(o.Members, s)
	}
	for _, name := range sortedKeys(f.table.Members) {
		add(name, f.table.Members[name].Address, f.table.Members[name])
	}
	for _, name := range sortedKeys(alive) {
		if !seen[name] {
			add(name, alive[name].address, nil)
		}
	}
	return o
}

// Reasons says why the node should not get logins: empty if nothing.
func (f *Fleet) Reasons() []health.Reason {
	one := func(code health.Code, text string) []health.Reason { return []health.Reason{{Code: code, Text: text}} }
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.fatal != nil:
		return one(health.FleetFailed, f.fatal.Error())
	case f.keyer.Load() == nil && !f.o.Witness && f.unkeyed != nil:
		return one(health.Unkeyed, fmt.Sprintf("users cannot be placed: %v; it has %s: add the missing version below the first to its secret file and restart it",
			f.unkeyed, strings.Join(prints(*f.secrets.Load()), ", ")))
	case f.keyer.Load() == nil && (!f.o.Witness || f.fresh()): // one that votes needs the log only
		return one(health.NotJoined, "the fleet has not been joined yet")
	case !f.node.Leased(bootTime()) && f.o.Strict && !f.o.Witness:
		return one(health.Isolated, "isolated from the fleet: logins are refused")
	case f.drained:
		return one(health.Drained, "drained by an administrator")
	}
	return nil
}

// Degraded says what is not as it should be while logins are served: empty if
// nothing.
func (f *Fleet) Degraded() []health.Reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	var why []health.Reason
	if f.keyer.Load() != nil && !f.o.Strict && !f.o.Witness && !f.node.Leased(bootTime()) {
		why = append(why, health.Reason{Code: health.Isolated, Text: "isolated from the fleet: users are placed by the last view"})
	}
	if lost := f.unopened(); lost != "" {
		why = append(why, health.Reason{Code: health.ValuesSealed, Text: lost})
	}
	return why
}
