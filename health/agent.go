package health

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// agentTime bounds one question: HAProxy itself gives up earlier.
	agentTime = 2 * time.Second
	// maxAgents asked at one time: some HAProxies, each with a process or two. Who
	// comes when there are so many waits in the kernel.
	maxAgents = 32
	// maxAgentSend is what agent-send may send us; it is read and not looked at.
	maxAgentSend = 1 << 10
	// maxAgentLine keeps the answer in HAProxy's buffer, and in its log.
	maxAgentLine = 200
	// agentPause is how long we rest after accept failed, as for want of descriptors.
	agentPause = 50 * time.Millisecond
	// agentWarn is how often that is said: it may last, and the log is not to be all of it.
	agentWarn = time.Minute
	// agentFresh is for how long a verdict is told again instead of made anew: who is
	// told it is open to everybody, and making it asks the fleet and all certificates.
	// HAProxy asks once a second at most.
	agentFresh = 100 * time.Millisecond
)

// AgentLine is the answer to HAProxy's agent-check (HAProxy's configuration
// manual, "agent-check"): a line without its end.
//
// "ready" and "drain" are said together with "up", since each alone leaves the
// health as an earlier answer has set it. No weight is: that of HAProxy's own
// configuration, or of its command line, stays.
func (v Verdict) AgentLine() string {
	switch {
	case v.State.Takes():
		return "up ready"
	case v.State == StateDraining:
		return "up drain"
	}
	var codes []string
	for _, r := range v.Reasons {
		codes = append(codes, string(r.Code))
	}
	line := "down #" + string(v.State) + ": " + strings.Join(codes, " ")
	return line[:min(len(line), maxAgentLine)]
}

// Agent answers HAProxy's agent-check on l until ctx is done, then closes l and
// returns when nobody is being answered any more. Who asks is told a line, what he
// sends is not looked at, and all of it takes agentTime at most. The error is nil
// unless the listener failed.
func (e *Endpoint) Agent(ctx context.Context, l net.Listener, log *slog.Logger) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var answering sync.WaitGroup
	defer answering.Wait()
	room := make(chan struct{}, maxAgents)
	line := lines{of: e}
	var warned time.Time
	for {
		room <- struct{}{} // freed within agentTime
		c, err := l.Accept()
		switch {
		case err == nil:
			answering.Go(func() {
				defer func() { <-room }()
				line.tell(c)
			})
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		<-room
		if warned.IsZero() || time.Since(warned) >= agentWarn {
			warned = time.Now()
			log.Warn("agent-check: accept failed", "err", err)
		}
		select {
		case <-time.After(agentPause):
		case <-ctx.Done():
		}
	}
}

// lines are what is told, made anew when the last one is old. Its methods are safe for
// concurrent use.
type lines struct {
	of *Endpoint

	mu   sync.Mutex // guards what follows, and is held while a line is made: one is enough for all
	last string
	made time.Time
}

// now is the line that is told now.
func (l *lines) now() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made.IsZero() || time.Since(l.made) >= agentFresh {
		l.last, l.made = l.of.Verdict().AgentLine(), time.Now()
	}
	return l.last
}

// tell answers one connection.
func (l *lines) tell(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(agentTime))
	if _, err := io.WriteString(c, l.now()+"\n"); err != nil {
		return // who asked has gone
	}
	// Closed with something unread the kernel would reset the connection, and our
	// line might be lost.
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, maxAgentSend)
	}
}
