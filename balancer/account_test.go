package balancer

import (
	"context"
	"log/slog"
	"testing"
)

// sieve takes something out of lines of every level, and lets none further.
type sieve struct{ slog.Handler }

func (sieve) Enabled(context.Context, slog.Level) bool      { return true }
func (sieve) Logs(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// A line that is no event is made for who logs it, not for who looks for events.
func TestLinesForNobodyAreNotMade(t *testing.T) {
	t.Parallel()
	plain := slog.NewTextHandler(t.Output(), nil)
	for name, tt := range map[string]struct {
		h    slog.Handler
		want bool
	}{"plain": {plain, true}, "events only": {sieve{plain}, false}} {
		if got := logs(slog.New(tt.h), slog.LevelInfo); got != tt.want {
			t.Errorf("%s: a line of level info is logged: %v", name, got)
		}
	}
	if !logs(slog.New(sieve{plain}), slog.LevelWarn) {
		t.Error("a warning is not logged")
	}
}
