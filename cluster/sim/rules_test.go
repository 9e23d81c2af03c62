package sim_test

import (
	"errors"
	"os"
	"testing"

	"usher.example/cluster/member"
	"usher.example/cluster/rule"
	"usher.example/cluster/sim"
)

// TestRules breaks each rule, which the simulation must see: a rule that can be
// left out is no rule, or the simulation is blind. With USHER_LONG it counts the
// seeds that see it.
func TestRules(t *testing.T) {
	const most = 2000 // the rarest is seen once in some hundred fleets
	for r := range rule.Rules {
		t.Run(r.String(), func(t *testing.T) {
			if raceOn && os.Getenv("USHER_LONG") == "" {
				t.Skip("has no goroutines: the race detector has nothing to see")
			}
			// A lease that is too long is seen at the end of its life already, and
			// seldom does harm before.
			twice := r != rule.LeaseFromReport
			pr, seen, first := profile(r), 0, uint64(0)
			for seed := uint64(1); seed <= most; seed++ {
				_, err := sim.Run(pr.Draw(seed), sim.Options{Broken: rule.Broken(0).Break(r), Twice: twice})
				if !errors.Is(err, sim.ErrTwice) && !errors.Is(err, sim.ErrLease) {
					continue
				}
				if seen++; first == 0 {
					first = seed
				}
				if os.Getenv("USHER_LONG") == "" {
					break
				}
			}
			if seen == 0 {
				t.Fatalf("%d fleets do without it", most)
			}
			t.Logf("seed %d sees it first; %d do", first, seen)
		})
	}
}

// profile is where the lack of a rule shows soonest.
func profile(r rule.Rule) sim.Profile {
	const second = member.Second
	p := sim.Common
	p.Sweep, p.Narrow = 0, true
	p.Renames, p.Sole, p.Witness, p.Flush, p.Files, p.Values = 0, 0, 0, 0, 0, 0
	k := &p.Rates
	switch r {
	case rule.HoldUnconfirmed: // stays whose users are gone, and long changes
		p.Length, p.Users = 60*second, [2]int{6, 10}
		k[sim.Adjust], k[sim.Login], k[sim.Stuck], k[sim.Slow] = 16, 120, 3, 3
	case rule.ReadyAfterStays, rule.StayIsPlace: // stays that are late
		k[sim.Adjust], k[sim.Move], k[sim.Lossy] = 12, 8, 3
	case rule.EpochInCommands: // many changes, and late commands
		k[sim.Adjust], k[sim.Lossy], k[sim.Slow] = 16, 5, 2
	case rule.NumberInMoves: // many moves, and late commands
		k[sim.Move], k[sim.Lossy], k[sim.Slow], k[sim.Stuck] = 40, 5, 2, 2
		k[sim.Crash], k[sim.Pause], k[sim.Isolate], k[sim.Split], k[sim.OneWay], k[sim.Lose] = 0, 0, 0, 0, 0, 0
	case rule.LifeInCommands: // long changes, in which processes come back at once, serve, and hear of their last life
		p.Strict, p.Late, p.Users = -1, 5*second, [2]int{8, 14}
		k[sim.Adjust], k[sim.Lossy], k[sim.Crash], k[sim.Move], k[sim.Stuck], k[sim.Login] = 20, 12, 16, 0, 6, 600
		k[sim.Isolate], k[sim.Split], k[sim.OneWay], k[sim.Pause], k[sim.Sicken] = 0, 0, 0, 0, 0
	case rule.EnterAfterEnd: // processes that come back at once
		p.Users = [2]int{8, 14}
		k[sim.Adjust], k[sim.Crash], k[sim.Move] = 24, 14, 10
	case rule.ReadyDies: // long changes, and nodes that come back meanwhile
		p.Strict, p.Pauses = -1, [2]int64{10 * second, 16 * second}
		k[sim.Stuck], k[sim.Isolate], k[sim.Adjust], k[sim.Move] = 3, 4, 8, 8
	case rule.CheckLease: // back ends that take their time to greet
		p.Strict, p.Dial, p.Pauses = 1, 14*second, [2]int64{8 * second, 20 * second}
		k[sim.Pause], k[sim.Isolate], k[sim.Adjust], k[sim.Move] = 4, 3, 8, 8
	case rule.LongWait, rule.WaitOutLease: // nodes that are cut off for about a lease
		p.Pauses = [2]int64{8 * second, 12 * second}
		k[sim.Isolate], k[sim.OneWay], k[sim.Adjust], k[sim.Move], k[sim.Login] = 4, 2, 8, 8, 250
	case rule.GrantInLog: // leaders that are cut off with others
		p.Pauses = [2]int64{12 * second, 20 * second}
		k[sim.Split], k[sim.Isolate], k[sim.Adjust], k[sim.Move], k[sim.Login] = 3, 1, 8, 8, 250
	case rule.LeaseFromReport: // nodes that see their grants late
		p.Pauses = [2]int64{8 * second, 20 * second}
		k[sim.Slow], k[sim.Isolate], k[sim.OneWay], k[sim.Crash], k[sim.Pause] = 25, 4, 2, 0, 0
	case rule.HoldListed:
		p.Files = 4
	case rule.KeysOfLogins, rule.CloseForKeys: // keys that change under many logins
		p.Renames = 4
		k[sim.Login] = 300
	case rule.OldKeysClose: // and nodes that were away meanwhile
		p.Renames, p.Strict, p.Pauses = 3, -1, [2]int64{10 * second, 25 * second}
		k[sim.Isolate], k[sim.Login] = 4, 250
	default:
	}
	return p
}
