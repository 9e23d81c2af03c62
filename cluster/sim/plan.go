package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// A Kind is something that happens to a fleet.
type Kind uint8

// Kinds.
const (
	Login     Kind = iota
	Move           // an administrator moves a user
	Unpin          // or lets him go home
	Adjust         // or changes a back end
	Sicken         // a back end fails for a while
	Configure      // the configuration changes
	Crash          // a process is killed, and comes back
	Pause          // a process is stopped, and goes on
	Isolate        // a host is cut off
	Split          // the hosts are cut into two
	OneWay         // messages of a host go one way only
	Slow           // a host applies the log late
	Stuck          // a host cannot close connections
	Lossy          // the network is bad
	Elect          // another host becomes leader
	Leave          // a process ends in order
	Lose           // a process is killed, and its state directory is gone
	Rename         // the nodes' configurations write users' names otherwise
	File           // there is another file with pins
	Store          // a node stores or removes a value
	Grab           // a node wants a lock for a while
	kinds
)

var kindNames = [kinds]string{
	"login", "move", "unpin", "adjust", "sicken", "configure", "crash", "pause", "isolate", "split", "one-way",
	"slow", "stuck", "lossy", "elect", "leave", "lose", "rename", "file", "store", "grab",
}

func (k Kind) String() string { return kindNames[k] }

// How a login ends after its credentials were sent.
const (
	Accepted = iota
	Refused
	Cut // before the back end has answered
)

// An Action is one thing that happens.
type Action struct {
	At   int64
	Kind Kind
	Host int
	User int // or back end
	N    int // what exactly
	Long int64
	// Of logins: how long the way to the back end, its answer, and the end take.
	Dial, Reply, Close int64
	Outcome            int
}

// A Plan is what happens to a fleet.
type Plan struct {
	Seed      uint64
	Nodes     int
	Voters    int
	Users     int
	Backends  int
	Pools     int
	Local     bool // storage of the first pool
	Strict    bool
	KickDelay int64
	Retention int64
	Late      int64 // how late a late message is
	Quick     bool  // messages take no time to speak of, nor do back ends
	Length    int64
	Sweeps    bool // is looked at for so long that stays end
	// Witness: the last voter has no users.
	Witness bool
	// Starts are when hosts start for the first time; none is at once.
	Starts []int64
	// Flush: moves wait for caches to be flushed.
	Flush bool
	// Tickets: there are keys of session tickets, and clocks on the wall that are wrong.
	Tickets bool
	Actions []Action
}

// A Profile says how plans are drawn.
type Profile struct {
	Nodes, Users, Backends [2]int
	// Strict: 1 always, -1 never, 0 by chance.
	Strict int
	Length int64
	Late   int64
	// Rates are how often things happen in a run.
	Rates [kinds]float64
	// Pauses are how long processes are stopped or cut off; zero is anything.
	Pauses [2]int64
	// Stuck is how long closing may take.
	Stuck int64
	// Dial is how long a slow back end takes to greet.
	Dial int64
	// Narrow: one pool of shared storage only.
	Narrow bool
	// Follow is how often a fault is followed by a change at once.
	Follow float64
	// Sweep is every how many runs is looked at for long.
	Sweep uint64
	// Renames are how often users' names are written otherwise in a run, and Sole,
	// Witness and Flush in what share of the runs there is only one voter, one of
	// them has no users, and moves wait for a flush.
	Renames, Sole, Witness, Flush float64
	// Files are how often there are other pins in a file.
	Files float64
	// Values is in what share of the runs values are stored and locks are taken.
	Values float64
	// Tickets: fleets have keys of session tickets.
	Tickets bool
}

// Common is the profile of everything.
var Common = Profile{
	Nodes: [2]int{3, 5}, Users: [2]int{3, 8}, Backends: [2]int{2, 4},
	Length: 40 * second, Late: 4 * second, Stuck: 14 * second, Dial: 6 * second, Follow: 0.6, Sweep: 10,
	Renames: 0.4, Sole: 0.1, Witness: 0.15, Flush: 0.2, Files: 1, Values: 0.3,
	Rates: [kinds]float64{
		Login: 150, Move: 4, Unpin: 1, Adjust: 4, Sicken: 2, Configure: 1, Crash: 1.5, Pause: 1.5, Isolate: 1, Split: 0.5,
		OneWay: 0.7, Slow: 1, Stuck: 0.5, Lossy: 0.7, Elect: 1, Leave: 0.4, Lose: 0.3,
	},
}

func between(r *rand.Rand, b [2]int) int { return b[0] + r.IntN(b[1]-b[0]+1) }

func within(r *rand.Rand, b [2]int64) int64 { return b[0] + r.Int64N(b[1]-b[0]+1) }

// Draw makes a plan of a seed.
func (pr Profile) Draw(seed uint64) *Plan {
	r := stream(seed, 1000)
	p := &Plan{
		Seed: seed, Nodes: between(r, pr.Nodes), Users: between(r, pr.Users), Backends: between(r, pr.Backends), Pools: 1,
		Voters: 3, KickDelay: 2 * second, Retention: 2*second + r.Int64N(4*second), Late: pr.Late, Length: pr.Length,
		Sweeps: pr.Sweep > 0 && seed%pr.Sweep == 0,
	}
	if p.Nodes == 5 && r.IntN(2) == 0 {
		p.Voters = 5
	}
	p.Strict = pr.Strict > 0 || pr.Strict == 0 && r.IntN(2) == 0
	if !pr.Narrow {
		p.Pools += r.IntN(2)
		p.Local = r.IntN(5) == 0
		if r.IntN(8) == 0 {
			p.KickDelay = 0
		}
		if r.IntN(3) == 0 {
			p.Retention = p.KickDelay
		}
	}
	p.Quick = r.IntN(4) == 0
	for k := range kinds {
		n := pr.Rates[k]
		for ; n >= 1 || r.Float64() < n; n-- {
			a := pr.action(r, p, k)
			p.Actions = append(p.Actions, a)
			if k >= Crash && r.Float64() < pr.Follow {
				f := pr.action(r, p, []Kind{Move, Adjust, Adjust, Sicken}[r.IntN(4)])
				f.At = min(a.At+r.Int64N(12*second), p.Length)
				p.Actions = append(p.Actions, f)
			}
		}
	}
	pr.more(p)
	pr.values(p)
	slices.SortStableFunc(p.Actions, func(a, b Action) int { return int(a.At/1e3) - int(b.At/1e3) })
	return p
}

// more draws what was thought of later, of a stream of its own: what a seed meant
// before it still means where there is none of that.
func (pr Profile) more(p *Plan) {
	r := stream(p.Seed, 1001)
	p.Flush, p.Tickets = r.Float64() < pr.Flush, pr.Tickets
	switch x := r.Float64(); {
	case x < pr.Sole:
		p.Voters = 1
		for i := range p.Nodes {
			p.Starts = append(p.Starts, int64(min(i, 1))*r.Int64N(p.Length/2))
		}
	case x < pr.Sole+pr.Witness:
		p.Witness = true
	}
	for n := pr.Renames; n >= 1 || r.Float64() < n; n-- {
		p.Actions = append(p.Actions, Action{
			At: 3*second + r.Int64N(p.Length-3*second), Kind: Rename, N: r.IntN(1000), Long: r.Int64N(4 * second), Host: r.IntN(p.Nodes),
		})
	}
	for n := pr.Files; n >= 1 || r.Float64() < n; n-- {
		p.Actions = append(p.Actions, Action{At: r.Int64N(p.Length), Kind: File, N: 1 + r.IntN(1000)})
	}
}

// values draws what is done with values and locks, of a stream of its own, too.
func (pr Profile) values(p *Plan) {
	r := stream(p.Seed, 1002)
	if r.Float64() >= pr.Values {
		return
	}
	for range 20 + r.IntN(40) {
		p.Actions = append(p.Actions, Action{At: 3*second + r.Int64N(p.Length-3*second), Kind: Store, Host: r.IntN(p.Nodes), N: r.IntN(1000)})
	}
	for range 4 + r.IntN(12) {
		p.Actions = append(p.Actions, Action{
			At: 3*second + r.Int64N(p.Length-3*second), Kind: Grab, Host: r.IntN(p.Nodes), N: r.IntN(1000), Long: r.Int64N(20 * second),
		})
	}
}

// action draws one thing.
func (pr Profile) action(r *rand.Rand, p *Plan, k Kind) Action {
	a := Action{
		At: 3*second + r.Int64N(p.Length-3*second), Kind: k, Host: r.IntN(p.Nodes), User: r.IntN(p.Users), N: r.IntN(1000),
		Long: 200*ms + r.Int64N(3*second),
	}
	switch k {
	case Login:
		a.Long = r.Int64N(2 * second)
		if r.IntN(3) == 0 {
			a.Long = r.Int64N(15 * second)
		}
		a.Dial, a.Reply, a.Close = ms+r.Int64N(20*ms), ms+r.Int64N(50*ms), r.Int64N(50*ms)
		if p.Quick {
			a.Dial, a.Reply, a.Close = r.Int64N(ms), r.Int64N(ms), r.Int64N(ms)
		}
		switch r.IntN(10) {
		case 0:
			a.Dial = r.Int64N(pr.Dial)
		case 1:
			a.Reply = r.Int64N(second)
		case 2:
			a.Close = r.Int64N(4 * second)
		}
		a.Outcome = []int{Accepted, Accepted, Accepted, Accepted, Accepted, Accepted, Accepted, Refused, Cut}[r.IntN(9)]
	case Pause, Isolate, Split, OneWay:
		switch {
		case pr.Pauses[1] > 0:
			a.Long = within(r, pr.Pauses)
		case r.IntN(2) == 0:
			a.Long = r.Int64N(20 * second)
		}
	case Slow, Lossy:
		a.Long = 2*second + r.Int64N(10*second)
	case Stuck:
		a.Long = r.Int64N(pr.Stuck)
	case Sicken:
		a.Long = second + r.Int64N(15*second)
	default:
	}
	return a
}

func (p *Plan) pool(user int) string { return fmt.Sprintf("pool%d", user%p.Pools) }

// configuration is the n-th: the first has everything, others lack something, or
// have it elsewhere.
func (p *Plan) configuration(n int) []table.Defined {
	r := stream(p.Seed, 2000+uint64(n))
	var list []table.Defined
	for i := range p.Pools {
		d := table.Defined{Name: p.pool(i)}
		if p.Local && i == 0 {
			d.Storage = place.Local
		}
		if n == 3 && stream(p.Seed, 3000+uint64(i)).IntN(3) == 0 { // the mail has been brought elsewhere
			d.Storage = place.Local - d.Storage
		}
		for j := range p.Backends {
			s := table.Server{Name: fmt.Sprintf("b%d", j), Address: fmt.Sprintf("a%d", j), Weight: 100}
			if n > 0 {
				switch r.IntN(6) {
				case 0:
					continue
				case 1:
					s.Address = fmt.Sprintf("a%d.%d", j, r.IntN(2))
				case 2:
					s.Weight = r.IntN(200)
				}
			}
			d.Backends = append(d.Backends, s)
		}
		if n == 0 || r.IntN(6) > 0 {
			list = append(list, d)
		}
	}
	return list
}
