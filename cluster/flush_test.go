package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// A program that notes what it was told, and ends when the pipe is closed. What it is
// told goes into a file by a variable only: a name is not looked at.
const flushProgram = `#!/bin/sh
printf '%s|%s|%s|%s|%s\n' "$USHER_USER" "$USHER_POOL" "$USHER_FROM" "$USHER_TO" "$USHER_BY" >> "$1"
read -r verdict < "$2"
echo "it says $verdict"
[ "$verdict" = good ]
`

// A flushing is a fleet of one whose moves wait for a pipe.
type flushing struct {
	t    *testing.T
	s    *sitter
	log  string
	pipe string
}

func newFlushing(t *testing.T) *flushing {
	t.Helper()
	dir := t.TempDir()
	f := &flushing{t: t, log: filepath.Join(dir, "log"), pipe: filepath.Join(dir, "pipe")}
	program := filepath.Join(dir, "flush")
	if err := os.WriteFile(program, []byte(flushProgram), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(f.pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f.s = openNode(t, FleetOptions{State: filepath.Join(dir, "state"), KickDelay: 10 * time.Millisecond, Flush: []string{program, f.log, f.pipe}}, mainPool(place.Shared, 3))
	await(t, f.s)
	return f
}

// told waits for the n-th flush, and returns what all were told.
func (f *flushing) told(n int) []string {
	f.t.Helper()
	var lines []string
	until(f.t, fmt.Sprintf("flush %d", n), func() bool {
		text, _ := os.ReadFile(f.log)
		lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		return len(text) > 0 && len(lines) >= n
	})
	return lines
}

// end lets the flush that runs end.
func (f *flushing) end(verdict string) {
	f.t.Helper()
	if err := os.WriteFile(f.pipe, []byte(verdict+"\n"), 0); err != nil {
		f.t.Fatal(err)
	}
}

// move moves a user, until the answer.
func (f *flushing) move(user, target string) chan error {
	done := make(chan error, 1)
	go func() { done <- f.s.f.Move(f.t.Context(), "main", user, target, "ann") }()
	return done
}

// away is a back end where the user is not.
func (f *flushing) away(user string) (from, to string) {
	f.t.Helper()
	w, err := f.s.f.Where("main", user)
	if err != nil {
		f.t.Fatal(err)
	}
	if w.Place == "store1" {
		return w.Place, "store2"
	}
	return w.Place, "store1"
}

// The program runs once for a move, after the user's connections are closed, and he
// is let in when it has ended. His name is nothing but an argument.
func TestFlush(t *testing.T) {
	f := newFlushing(t)
	user := `joe"; $(touch /tmp/x) '` + "`" + `*`
	from, to := f.away(user)
	if b, _ := f.s.login(t, user); b != from {
		t.Fatalf("he is on %s", b)
	}
	moved := f.move(user, to)
	want := fmt.Sprintf("%s|main|%s|%s|ann", user, from, to)
	if got := f.told(1); len(got) != 1 || got[0] != want {
		t.Errorf("it was told %q, not %q", got, want)
	}
	if n := f.s.count(); n != 0 {
		t.Errorf("%d sessions while caches are flushed", n)
	}
	placed := make(chan string, 1)
	go func() {
		b, _, hold, err := f.s.f.Place(context.WithoutCancel(t.Context()), "main", user)
		f.s.f.Release(hold)
		placed <- fmt.Sprint(b, err)
	}()
	until(t, "the login to be held", func() bool { return f.s.f.stats.Held.Load() > 0 })
	if got := f.s.f.Overview().Moves; got != 1 {
		t.Errorf("%d moves are under way", got)
	}
	f.end("good")
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if got := <-placed; got != to+"<nil>" {
		t.Errorf("the login came to %s, not %s", got, to)
	}
	if got := f.told(1); len(got) != 1 || f.s.f.stats.Unflushed.Load() != 0 {
		t.Errorf("it ran %d times, and failed %d times", len(got), f.s.f.stats.Unflushed.Load())
	}
}

// A flush that fails, or does not end, does not keep the user from his mail.
func TestFlushFails(t *testing.T) {
	f := newFlushing(t)
	_, to := f.away("joe")
	moved := f.move("joe", to)
	f.told(1)
	f.end("bad")
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if got := f.s.f.stats.Unflushed.Load(); got != 1 {
		t.Errorf("%d flushes have failed", got)
	}
	began := time.Now()
	if err := <-f.move("joe", ""); err != nil { // nobody ends it
		t.Fatal(err)
	}
	if took := time.Since(began); took < flushTime || f.s.f.stats.Unflushed.Load() != 2 {
		t.Errorf("after %v, %d have failed", took, f.s.f.stats.Unflushed.Load())
	}
	if b, _ := f.s.login(t, "joe"); b == to {
		t.Error("he is not at home")
	}
}

// A name that no environment can carry is not handed over, and moves all the same.
func TestFlushNUL(t *testing.T) {
	f := newFlushing(t)
	k := f.s.f.keyer.Load()
	s := table.Start{Pool: "main", Key: k.keys.Key("main", "a\x00b"), Keys: k.made, User: "a\x00b", Target: "store1", Pin: table.PinSet}
	if err := f.s.f.propose(s); err != nil {
		t.Fatal(err)
	}
	until(t, "the move", func() bool { return f.s.f.Overview().Moves == 0 })
	if _, err := os.Stat(f.log); err == nil || f.s.f.stats.Unflushed.Load() != 1 {
		t.Error("the program ran")
	}
}

func TestTail(t *testing.T) {
	var out ending
	for i := range 1000 {
		fmt.Fprintf(&out, "%d,", i)
	}
	if got := out.String(); len(got) != flushOutput || !strings.HasSuffix(got, "998,999,") {
		t.Errorf("%d octets: %q", len(got), got)
	}
}
