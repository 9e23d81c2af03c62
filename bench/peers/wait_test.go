package peers

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAwaitReady: who never says that he is ready is not waited for without end.
func TestAwaitReady(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		closes     bool
		want       []string
	}{
		{"ready", "ready 127.0.0.1:1 127.0.0.1:2\n", false, []string{"127.0.0.1:1", "127.0.0.1:2"}},
		{"silent", "", false, nil},
		{"half a line", "ready 127.0.0.1:1", false, nil},
		{"ended", "", true, nil},
		{"something else", "panic: no\n", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			if _, err := w.WriteString(tt.says); err != nil {
				t.Fatal(err)
			}
			limit := 20 * time.Millisecond
			if tt.want != nil {
				limit = readyTime
			}
			if tt.closes {
				w.Close()
			}
			got, err := awaitReady(r, limit)
			if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			if silent := tt.name == "silent"; silent && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("error %v, want that the time is over", err)
			}
		})
	}
}

// TestSay: a program that does not end does not keep the benchmark.
func TestSay(t *testing.T) {
	if out, err := say(versionTime, "/bin/echo", "1.2"); string(out) != "1.2\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := say(20*time.Millisecond, "/bin/sleep", "600"); err == nil || !strings.Contains(err.Error(), "no end") {
		t.Errorf("error %v, want that it does not end", err)
	}
}
