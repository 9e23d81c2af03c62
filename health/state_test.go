package health

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// newJudge returns a judge with the defaults, and the time of its first probe.
func newJudge(o Options) (*judge, time.Time) {
	c := New(nil, o)
	return &c.judge, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
}

func TestRiseAndFall(t *testing.T) {
	for _, tt := range []struct {
		name   string
		probes string // one letter per probe: g(ood) or b(ad)
		want   []State
	}{
		{"nothing is known at first", "", nil},
		{"the first good probe raises", "g", []State{Up}},
		{"the first bad probe fells", "b", []State{Down}},
		{"good probes change nothing", "ggggg", []State{Up}},
		{"one bad probe does not fell", "gbg", []State{Up}},
		{"two bad probes do not fell", "ggbbg", []State{Up}},
		{"only bad ones in a row count", "gbbgbbgbbg", []State{Up}},
		{"three bad probes fell", "gbbb", []State{Up, Down}},
		{"two good probes do not raise", "bgg", []State{Down}},
		{"only good ones in a row count", "bggbggbgg", []State{Down}},
		{"three good probes raise", "bggg", []State{Down, Up}},
		{"the first verdict has no penalty", "bgggbbb", []State{Down, Up, Down}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, now := newJudge(Options{})
			var got []State
			for _, p := range tt.probes {
				if j.result(now, p == 'g') {
					got = append(got, j.state)
					if !j.since.Equal(now) {
						t.Errorf("%v since %v, want %v", j.state, j.since, now)
					}
				}
				now = now.Add(2 * time.Second)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("probes %s: states %v, want %v", tt.probes, got, tt.want)
			}
		})
	}
}

// fallAndReturn takes a judge that is up through a fall and returns how long it
// was down although every probe after the fall was good.
func fallAndReturn(t *testing.T, j *judge, now *time.Time) time.Duration {
	t.Helper()
	const step = time.Second
	for j.state == Up {
		j.result(*now, false)
		*now = now.Add(step)
	}
	fell := j.since
	for j.state == Down {
		if now.Sub(fell) > 24*time.Hour {
			t.Fatal("it never returns")
		}
		j.result(*now, true)
		*now = now.Add(step)
	}
	return j.since.Sub(fell)
}

func TestFlapDamping(t *testing.T) {
	j, now := newJudge(Options{})
	j.result(now, true)
	var got []time.Duration
	for range 8 {
		got = append(got, fallAndReturn(t, j, &now))
	}
	want := []time.Duration{10, 20, 40, 80, 160, 300, 300, 300}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(got, want) {
		t.Errorf("flapping at once: down for %v, want %v", got, want)
	}

	// Two calm times undo two of the five doublings.
	now = now.Add(2*DefaultCalm + time.Second)
	j.result(now, true)
	if got, want := fallAndReturn(t, j, &now), 80*time.Second; got != want {
		t.Errorf("after %v of calm: down for %v, want %v", 2*DefaultCalm, got, want)
	}
	now = now.Add(24 * time.Hour)
	j.result(now, true)
	if got := fallAndReturn(t, j, &now); got != DefaultMinDown {
		t.Errorf("after a day of calm: down for %v, want %v", got, DefaultMinDown)
	}
}

func TestDampingOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want []time.Duration // of falls one after the other
	}{
		{"none", Options{MinDown: -1, Rise: 1}, []time.Duration{time.Second, time.Second, time.Second}},
		{"other bounds", Options{MinDown: 3 * time.Second, MaxDown: 7 * time.Second, Rise: 1}, []time.Duration{3 * time.Second, 6 * time.Second, 7 * time.Second, 7 * time.Second}},
		{"a least above the default most", Options{MinDown: time.Hour}, []time.Duration{time.Hour, time.Hour}},
		{"rise takes longer", Options{MinDown: time.Second, Rise: 5}, []time.Duration{5 * time.Second, 5 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, now := newJudge(tt.o)
			j.result(now, true)
			for i, want := range tt.want {
				if got := fallAndReturn(t, j, &now); got != want {
					t.Errorf("fall %d: down for %v, want %v", i+1, got, want)
				}
			}
		})
	}
}

// TestJudgeBounds tries random probes: no penalty above its bound, no change
// without the results that it needs.
func TestJudgeBounds(t *testing.T) {
	j, now := newJudge(Options{})
	r := rand.New(rand.NewPCG(1, 1))
	j.result(now, true) // the first verdict has no penalty
	var last []bool
	changes := 0
	for range 200000 {
		now = now.Add(time.Duration(r.IntN(5000)) * time.Millisecond)
		good := r.IntN(3) > 0
		last = append(last, good)
		last = last[max(0, len(last)-3):]
		if !j.result(now, good) {
			continue
		}
		changes++
		if !slices.Equal(last, []bool{good, good, good}) {
			t.Fatalf("%v after %v", j.state, last)
		}
		if penalty := j.until.Sub(now); j.state == Down && (penalty < DefaultMinDown || penalty > DefaultMaxDown) {
			t.Fatalf("penalty of %v, want within %v and %v", penalty, DefaultMinDown, DefaultMaxDown)
		}
		if j.state == Up && now.Before(j.until) {
			t.Fatal("up before the penalty is served")
		}
	}
	if changes < 100 {
		t.Errorf("only %d changes were tried", changes)
	}
}

func TestStateText(t *testing.T) {
	for state, want := range map[State]string{Unknown: "unknown", Up: "up", Down: "down"} {
		if text, err := state.MarshalText(); err != nil || string(text) != want {
			t.Errorf("%d is written %q, %v, want %q", state, text, err, want)
		}
	}
	if _, err := State(9).MarshalText(); err == nil {
		t.Error("an unknown state is written")
	}
}
