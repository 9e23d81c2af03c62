package health

import (
	"fmt"
	"strconv"
	"time"
)

// State is what is known of a back end.
type State uint8

const (
	// Unknown: not probed yet.
	Unknown State = iota
	// Up: it answers its probes.
	Up
	// Down: it does not, or has fallen too often lately.
	Down
)

// String returns "unknown", "up" or "down".
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "state " + strconv.Itoa(int(s))
}

// MarshalText writes the word that String returns.
func (s State) MarshalText() ([]byte, error) {
	if s > Down {
		return nil, fmt.Errorf("unknown %v", s)
	}
	return []byte(s.String()), nil
}

// A judge turns the results of probes into a state. It is pure: it reads no
// clock, every time comes with a result.
//
//	unknown --good--> up --fall bad in a row--> down
//	unknown --bad---> down --rise good in a row, and penalty served--> up
//
// The first result decides at once, for either answer is better than none:
// waiting for more would send users to a dead back end, or keep them from a
// good one, and nobody has been promised anything yet.
//
// Flap damping: every fall after the first result adds a point, every calm
// time of staying up takes one away. With n points a fall is followed by a
// penalty of minDown doubled n-1 times, at most maxDown, during which the back
// end stays down whatever it answers.
type judge struct {
	rise, fall       int
	minDown, maxDown time.Duration
	calm             time.Duration

	state  State
	since  time.Time // of the state
	run    int       // results in a row that speak against the state
	points int       // of flap damping
	until  time.Time // end of the penalty
}

// result takes the result of a probe and says whether the state changed.
func (j *judge) result(now time.Time, good bool) bool {
	switch {
	case j.state == Unknown && good:
		return j.enter(Up, now)
	case j.state == Unknown:
		return j.enter(Down, now)
	case good == (j.state == Up):
		j.run = 0
		return false
	}
	j.run++
	switch j.state {
	case Up:
		if j.run >= j.fall {
			j.punish(now)
			return j.enter(Down, now)
		}
	case Down:
		if j.run >= j.rise && !now.Before(j.until) {
			return j.enter(Up, now)
		}
	default: // Unknown was left by the first result
	}
	return false
}

// punish sets the penalty of a fall. A negative minDown means none.
func (j *judge) punish(now time.Time) {
	if j.minDown < 0 {
		return
	}
	j.points -= int(min(now.Sub(j.since)/j.calm, time.Duration(j.points)))
	penalty := j.minDown
	for range j.points {
		if penalty >= j.maxDown {
			break
		}
		penalty *= 2
	}
	// At the longest penalty more points would only delay forgiveness.
	if penalty < j.maxDown {
		j.points++
	}
	j.until = now.Add(min(penalty, j.maxDown))
}

func (j *judge) enter(s State, now time.Time) bool {
	j.state, j.since, j.run = s, now, 0
	return true
}

// doubts says whether the last results speak against the state and more of them
// would change it.
func (j *judge) doubts() bool {
	return j.run > 0 && (j.state == Up || j.run < j.rise)
}

// damped says whether only the penalty keeps the back end down.
func (j *judge) damped(now time.Time) bool {
	return j.state == Down && j.run >= j.rise && now.Before(j.until)
}
