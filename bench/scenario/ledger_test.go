package scenario

import (
	"os"
	"testing"
	"time"
)

const stat = "cpu  10 20 30 4000 500 6 7 8 900 90\ncpu0 1 2 3 4\nintr 1\n"

func TestParseBusy(t *testing.T) {
	if got, err := parseBusy(stat); err != nil || got != (10+20+30+6+7+8)*tick {
		t.Errorf("busy for %v, %v; want all but idle, iowait and guests: %v", got, err, 81*tick)
	}
	for _, text := range []string{"", "cpu", "cpu0 1 2 3 4 5", "cpu 1 2 x 4 5", "cpu 1 2 -3 4 5", "cpu 1 2 99999999999999999999 4 5"} {
		if got, err := parseBusy(text); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		}
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Skip("no /proc/stat here")
	}
	if got, err := parseBusy(string(text)); err != nil || got <= 0 {
		t.Errorf("this machine was busy for %v, %v", got, err)
	}
}

func FuzzParseBusy(f *testing.F) {
	f.Add(stat)
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := parseBusy(text); err == nil && got < 0 {
			t.Errorf("%q was busy for %v", text, got)
		}
	})
}

// TestLedger has an account that others are not blamed for what targets used.
func TestLedger(t *testing.T) {
	spent := time.Duration(0)
	l, err := open(stub{}, &spent)
	if err != nil {
		t.Fatal(err)
	}
	spent = 1000 * time.Hour
	if others, err := l.others(); err != nil || others != 0 {
		t.Errorf("others used %v processors, %v; want none when all was ours", others, err)
	}
}
