package cluster

import (
	"testing"
	"time"

	"usher.example/cluster/lead"
	"usher.example/cluster/member"
)

// What is done each second is due at the same time, whenever it was begun.
func TestBeat(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{time.Second, 2 * time.Second} {
		before := time.Duration(bootTime())
		wait := Beat(every)
		after := time.Duration(bootTime())
		if due := (after + wait).Truncate(every); wait <= 0 || wait > every || due < before+wait {
			t.Errorf("of each %v the next is in %v, between %v and %v", every, wait, before+wait, after+wait)
		}
	}
}

// Who is alone reports to himself, at each of his looks: a report is to count until the next.
func TestAloneIsHeard(t *testing.T) {
	if counts := time.Duration(min(3*member.ReportEvery, lead.HeardFor)); aloneEvery >= counts {
		t.Errorf("a report each %v, and it counts for %v", aloneEvery, counts)
	}
}
