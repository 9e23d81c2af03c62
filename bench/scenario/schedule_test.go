package scenario

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// TestSchedule holds that all targets get the same day, and that it is the one that
// is described.
func TestSchedule(t *testing.T) {
	const users = 2000
	plan := newSchedule(7, users)
	if !reflect.DeepEqual(plan, newSchedule(7, users)) {
		t.Error("the same seed gave two schedules")
	}
	if reflect.DeepEqual(plan, newSchedule(8, users)) {
		t.Error("two seeds gave the same schedule")
	}
	for i, events := range plan {
		if !slices.IsSortedFunc(events, func(a, b event) int { return int(a.at - b.at) }) {
			t.Fatalf("user %d's events are not in order", i)
		}
		for _, e := range events {
			if e.user != i || e.at < 0 || e.at >= time.Hour {
				t.Fatalf("user %d has event %+v", i, e)
			}
			if (e.action == visitPOP) == plan.imap(i) {
				t.Fatalf("user %d fetches by POP3 and has a session of IMAP", i)
			}
		}
	}
	// An hour's worth of each, within a tenth.
	phones, desks, pops := users*phoneShare, users*deskShare, users*(1-phoneShare-deskShare)
	for _, tt := range []struct {
		what string
		got  int
		want float64
	}{
		{"logins", plan.count(login), phones*4 + desks/2},
		{"NOOPs", plan.count(noop), phones*4 + desks*12},
		{"fetches", plan.count(fetch), (phones + desks) * 6},
		{"stores", plan.count(store), desks},
		{"visits by POP3", plan.count(visitPOP), pops * 6},
	} {
		if float64(tt.got) < 0.9*tt.want || float64(tt.got) > 1.1*tt.want {
			t.Errorf("%d %s, want about %.0f", tt.got, tt.what, tt.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(hundred, q); got != want {
			t.Errorf("quantile %v of 1 to 100 is %d, want %d", q, got, want)
		}
	}
	if got := quantile([]time.Duration{3}, 0.99); got != 3 {
		t.Errorf("of one value it is %d, want that value", got)
	}
	if got := middle([]float64{9, 1, 4, 2}); got != 3 {
		t.Errorf("the middle of 1, 2, 4, 9 is %v, want 3", got)
	}
}
