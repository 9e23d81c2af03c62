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

// TestProgressOnTerminal has one line written over, as long as the terminal is wide,
// and what stays above it.
func TestProgressOnTerminal(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out)
	p.terminal = true
	p.begin(1, time.Minute)
	p.next(strings.Repeat("x", 200))
	p.tell("a fault")
	p.end()
	const erase = "\r\x1b[K"
	lines := strings.Split(out.String(), erase)
	if len(lines) != 5 || lines[2] != "a fault\n" || lines[4] != "" {
		t.Fatalf("wrote %q, want the line, the fault in its place, the line again, and nothing", lines)
	}
	for _, i := range []int{1, 3} {
		if len(lines[i]) != 79 || !strings.HasPrefix(lines[i], "1/1 ") {
			t.Errorf("line of %d: %q, want 79 characters of what runs", len(lines[i]), lines[i])
		}
	}
}
