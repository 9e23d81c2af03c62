package scenario

import (
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out)
	p.begin(2, 4*time.Minute)
	p.next("logins 1/5 of usher")
	p.say("warm up")
	p.tell("a fault")
	p.finished(3 * time.Minute)
	if left := p.left(6 * time.Minute); left != 2*time.Minute {
		t.Errorf("%s left, want 2m0s: what is left was thought to take 1m, and all takes twice as long", left)
	}
	p.next("logins 1/5 of haproxy")
	p.finished(time.Minute)
	p.end()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want one for each round and fault, and none for what a round is at: %q", len(lines), lines)
	}
	for i, want := range []string{"1/2 0s, about 4m0s left: logins 1/5 of usher", "a fault", "logins 1/5 of haproxy"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %q, want %q in it", i+1, lines[i], want)
		}
	}
}
