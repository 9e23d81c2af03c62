package health

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name              string
		unready, degraded []Code
		state             Readiness
		reasons           string
		agent             string
	}{
		{"ready", nil, nil, StateReady, "", "up ready"},
		{"degraded", nil, []Code{CertificateEnding, Isolated}, StateDegraded, "certificate_ending isolated", "up ready"},
		{"stopping", []Code{Draining}, []Code{CertificateEnding}, StateDraining, "draining", "up drain"},
		{"drained", []Code{Drained}, nil, StateDraining, "drained", "up drain"},
		{"drained with nobody to send to", []Code{PoolDown, Drained}, nil, StateDraining, "pool_down drained", "up drain"},
		{"isolated", []Code{Isolated}, nil, StateIsolated, "isolated", "down #isolated: isolated"},
		{"unable", []Code{PoolDown, NoListener}, nil, StateLive, "pool_down no_listener", "down #live: pool_down no_listener"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e Endpoint
			e.Add("a", of(tt.unready))
			e.AddDegraded("b", of(tt.degraded))
			v := e.Verdict()
			var codes []string
			for _, r := range v.Reasons {
				codes = append(codes, string(r.Code))
			}
			if got := strings.Join(codes, " "); v.State != tt.state || got != tt.reasons || v.Reasons == nil {
				t.Errorf("got %s by %q, want %s by %q", v.State, got, tt.state, tt.reasons)
			}
			if got := v.AgentLine(); got != tt.agent {
				t.Errorf("the agent says %q, want %q", got, tt.agent)
			}
		})
	}
	if v := new(Endpoint).Verdict(); v.State != StateLive || v.Reasons[0].Code != Starting {
		t.Errorf("a new one is %v, want live, as it is starting", v)
	}
	long := Verdict{State: StateLive}
	for range 100 {
		long.Reasons = append(long.Reasons, Reason{Code: PoolDown})
	}
	if n := len(long.AgentLine()); n > maxAgentLine {
		t.Errorf("a line of %d octets, allowed are %d", n, maxAgentLine)
	}
}

func of(codes []Code) Condition {
	return func() []Reason {
		var reasons []Reason
		for _, c := range codes {
			reasons = append(reasons, Reason{c, "because"})
		}
		return reasons
	}
}

// TestAgent asks as HAProxy does, with and without agent-send, and as somebody who
// only holds connections: he keeps nobody from an answer.
func TestAgent(t *testing.T) {
	var e Endpoint
	var draining atomic.Bool
	e.Add("x", func() []Reason {
		if draining.Load() {
			return []Reason{{Draining, "draining"}}
		}
		return nil
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Agent(ctx, l, slog.New(slog.DiscardHandler)) }() // waited for below
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ask := func(send string) string {
		t.Helper()
		c := dial()
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		text, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := ask(""); got != "up ready\n" {
		t.Errorf("got %q", got)
	}
	draining.Store(true)
	got := ask("usher\n")
	for deadline := time.Now().Add(30 * time.Second); got != "up drain\n" && time.Now().Before(deadline); {
		got = ask("usher\n") // not more than agentFresh later, on a machine that has time
	}
	if got != "up drain\n" {
		t.Errorf("got %q", got)
	}
	for range 2 * maxAgents {
		dial()
	}
	began := time.Now()
	if got := ask(strings.Repeat("x", 2*maxAgentSend)); got != "up drain\n" {
		t.Errorf("got %q", got)
	}
	if took := time.Since(began); took > 4*agentTime {
		t.Errorf("an answer behind %d silent ones took %v", 2*maxAgents, took)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the agent does not end")
	}
}
