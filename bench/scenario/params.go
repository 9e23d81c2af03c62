package scenario

import (
	"math"
	"time"
)

// Params are the sizes of all scenarios. [Default] makes a full run of thirteen
// targets fit into an hour on two cores, [Quick] into three minutes.
type Params struct {
	Repetitions int    // of the courses that are repeated most; long ones take a share of it
	Every       bool   // lets all courses have all repetitions
	Seed        uint64 // of all that is drawn: users, think times

	// Logins. 1,500 at 0.6 ms are 0.9 s of CPU, of which a counter that ticks a
	// hundred times a second knows 1 %; LoginTime bounds those who take 7 ms each.
	Logins    int
	LoginTime time.Duration
	WarmUp    int // logins before a measurement: code is paged in, caches are filled
	// Workers is how many clients log in at a time: enough for the two cores of a
	// small machine, few enough that a latency is not a queue's length.
	Workers int
	// StalledWorkers is how many there are where a login mostly waits for a timer,
	// as nginx's mail module does for a delayed acknowledgement: 44 ms each.
	StalledWorkers int
	Rate           float64       // logins a second at a fixed rate: below what the slowest event loop can do
	RateTime       time.Duration // how long they arrive

	// Bulk: a GB takes 0.5 to 10 s; two of it, or BulkTime, which ends it on most.
	Bulk     int64
	BulkTime time.Duration
	Piece    int64 // octets asked for at a time: large against what a request costs

	// Round trips: 8,000 at 60 µs.
	Noops      int
	NoopTime   time.Duration
	Many       int           // sessions that go round at the same time
	BesideTime time.Duration // of round trips beside a download
	BesidePace time.Duration // from one NOOP of a session to its next

	// Idle: how many sessions are held, a scenario each, and how often a size is
	// measured for five repetitions: what takes a minute for each target and repeats
	// to 1 % need not be done often.
	Idle       []Held
	IdleTime   time.Duration // of counting the CPU that nothing takes
	WarmOctets int64         // of a FETCH and an APPEND on each session
	Setup      time.Duration // bounds how long sessions may take to be there

	// Settling: memory has settled when it stayed within SettleWithin for
	// SettleFor, which is longer than the 5 to 10 s after its last login in which
	// usher tidies up; at SettleLimit it is taken as it is.
	SettleFor    time.Duration
	SettleWithin float64
	SettleLimit  time.Duration
	SettlePoll   time.Duration

	Storm      int           // sessions of the node that dies; each is a file of this process, and two of the target's
	StormLimit time.Duration // until all have to be back
	StormShare float64       // of the repetitions

	Users    int           // of a day, at most some thousands: each is a session or two
	Hour     time.Duration // how long an hour of the day takes
	DayShare float64       // of the repetitions

	Fleets     []int // nodes of the fleets
	FleetTime  time.Duration
	FleetShare float64

	Soak      time.Duration
	SoakEvery time.Duration // from the end of one sample to the next
	SoakIdle  int           // sessions that idle meanwhile
	SoakProbe int64         // octets of a download at full speed, for each sample

	// Limit bounds one part with one target; what hangs is a fault.
	Limit time.Duration
}

// Held is a number of sessions that are held idle, and the share of the
// repetitions in which they are.
type Held struct {
	Sessions int
	Share    float64
}

// Default are the sizes of a full run.
func Default() Params {
	return Params{
		Repetitions: 5, Seed: 1,
		Logins: 1500, LoginTime: 1500 * time.Millisecond, WarmUp: 50, Workers: 8, StalledWorkers: 64,
		Rate: 200, RateTime: 1500 * time.Millisecond,
		Bulk: 2e9, BulkTime: 800 * time.Millisecond, Piece: 32e6,
		Noops: 8000, NoopTime: 800 * time.Millisecond, Many: 16,
		BesideTime: time.Second, BesidePace: 5 * time.Millisecond,
		Idle: []Held{{2000, 0.2}, {9500, 0.2}}, IdleTime: 5 * time.Second, WarmOctets: 64 << 10, Setup: time.Minute,
		SettleFor: 12 * time.Second, SettleWithin: 0.005, SettleLimit: 30 * time.Second, SettlePoll: 500 * time.Millisecond,
		Storm: 9000, StormLimit: time.Minute, StormShare: 0.2,
		Users: 600, Hour: 10 * time.Second, DayShare: 0.4,
		Fleets: []int{1, 3, 5}, FleetTime: 3 * time.Second, FleetShare: 0.6,
		Soak: 30 * time.Minute, SoakEvery: 5 * time.Second, SoakIdle: 500, SoakProbe: 64e6,
		Limit: 3 * time.Minute,
	}
}

// Quick are sizes that show that everything works, and nothing more: figures of
// so short runs say little.
func Quick() Params {
	p := Default()
	p.Repetitions = 1
	p.Logins, p.LoginTime, p.WarmUp = 100, 400*time.Millisecond, 8
	p.Rate, p.RateTime = 50, 400*time.Millisecond
	p.Bulk, p.BulkTime, p.Piece = 64e6, 300*time.Millisecond, 8e6
	p.Noops, p.NoopTime, p.BesideTime = 500, 200*time.Millisecond, 300*time.Millisecond
	p.Idle, p.IdleTime = []Held{{100, 1}}, 500*time.Millisecond
	p.SettleFor, p.SettleLimit, p.SettlePoll = 600*time.Millisecond, 1500*time.Millisecond, 100*time.Millisecond
	p.Storm, p.StormLimit = 150, 20*time.Second
	p.Users, p.Hour = 40, time.Second
	p.Fleets, p.FleetTime = []int{1, 3}, 600*time.Millisecond
	p.Soak, p.SoakEvery, p.SoakIdle, p.SoakProbe = 6*time.Second, 500*time.Millisecond, 50, 16e6
	p.Limit = time.Minute
	return p
}

// share is how many repetitions a share of them is: never none.
func (p Params) share(of float64) int {
	if p.Every {
		return p.Repetitions
	}
	return max(1, int(math.Round(of*float64(p.Repetitions))))
}
