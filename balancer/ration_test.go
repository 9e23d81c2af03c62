package balancer

import (
	"testing"
	"time"
)

func TestRation(t *testing.T) {
	var r ration
	now := time.Unix(1_800_000_000, 0)
	for n := range 3 * refusalLines {
		if ok, unsaid := r.take(now); ok != (n < refusalLines) || unsaid != 0 {
			t.Fatalf("line %d: %v, %d unsaid", n+1, ok, unsaid)
		}
	}
	if ok, unsaid := r.take(now.Add(time.Second)); !ok || unsaid != 2*refusalLines {
		t.Errorf("in the next second: %v, %d unsaid; want %d", ok, unsaid, 2*refusalLines)
	}
	if ok, unsaid := r.take(now.Add(time.Second)); !ok || unsaid != 0 {
		t.Errorf("the one after it: %v, %d unsaid", ok, unsaid)
	}
}
