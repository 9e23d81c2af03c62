package health

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAgentFresh: however many ask at a time, a verdict is made once in agentFresh.
func TestAgentFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Endpoint
		var made atomic.Int64
		var drained atomic.Bool
		e.Add("x", func() []Reason {
			made.Add(1)
			if drained.Load() {
				return []Reason{{Drained, "drained"}}
			}
			return nil
		})
		l := lines{of: &e}
		ask := func(want string) {
			t.Helper()
			var asking sync.WaitGroup
			for range 1000 {
				asking.Go(func() {
					if got := l.now(); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			}
			asking.Wait()
		}
		ask("up ready")
		drained.Store(true)
		time.Sleep(agentFresh - 1)
		ask("up ready")
		time.Sleep(time.Nanosecond)
		ask("up drain")
		if n := made.Load(); n != 2 {
			t.Errorf("2000 questions in %v and 1000 later make %d verdicts, want 2", agentFresh, n)
		}
	})
}

// full is a listener of a process that has no descriptors left.
type full struct{ closed chan struct{} }

func (l full) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
		return nil, errors.New("too many open files")
	}
}
func (l full) Close() error   { close(l.closed); return nil }
func (l full) Addr() net.Addr { return &net.TCPAddr{} }

// TestAgentWarns: what lasts is said once a minute.
func TestAgentWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithTimeout(t.Context(), 3*agentWarn-time.Second)
		defer stop()
		if err := new(Endpoint).Agent(ctx, full{make(chan struct{})}, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "accept failed"); n != 3 {
			t.Errorf("warned %d times in %v, want 3", n, 3*agentWarn-time.Second)
		}
	})
}
