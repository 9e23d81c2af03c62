package cluster

import (
	"context"
	"log/slog"
	"sync"
	"testing"
)

// A once is a handler of log lines that notes which have a key twice: most readers
// of JSON keep the last and drop the others, which are often the node's own.
type once struct {
	next slog.Handler
	keys map[string]bool
	note func(line string)
}

// watchKeys has the test fail for lines that have a key twice.
func watchKeys(t testing.TB, l *slog.Logger) *slog.Logger {
	var mu sync.Mutex
	double := make(map[string]bool)
	t.Cleanup(func() { // after the end of those that log
		mu.Lock()
		defer mu.Unlock()
		for line := range double {
			t.Error("a line of the log has a key twice: " + line)
		}
	})
	return slog.New(&once{l.Handler(), map[string]bool{}, func(line string) {
		mu.Lock()
		defer mu.Unlock()
		double[line] = true
	}})
}

func (*once) Enabled(context.Context, slog.Level) bool { return true }

func (o *once) Handle(ctx context.Context, r slog.Record) error {
	keys := make(map[string]bool, len(o.keys)+r.NumAttrs())
	for k := range o.keys {
		keys[k] = true
	}
	r.Attrs(func(a slog.Attr) bool {
		if keys[a.Key] {
			o.note(r.Message + ", " + a.Key)
		}
		keys[a.Key] = true
		return true
	})
	return o.next.Handle(ctx, r)
}

func (o *once) WithAttrs(attrs []slog.Attr) slog.Handler {
	keys := make(map[string]bool, len(o.keys)+len(attrs))
	for k := range o.keys {
		keys[k] = true
	}
	for _, a := range attrs {
		keys[a.Key] = true
	}
	return &once{o.next.WithAttrs(attrs), keys, o.note}
}

func (o *once) WithGroup(name string) slog.Handler {
	return &once{o.next.WithGroup(name), map[string]bool{}, o.note}
}

func TestKeysAreWatched(t *testing.T) {
	var seen []string
	l := slog.New(&once{slog.DiscardHandler, map[string]bool{}, func(line string) { seen = append(seen, line) }})
	l.With("node", "a").Info("joined", "node", "b")
	l.With("node", "a").Info("joined", "peer", "b")
	if len(seen) != 1 || seen[0] != "joined, node" {
		t.Errorf("got %q, want one line", seen)
	}
}
