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
	for {
		room <- struct{}{} // freed within agentTime
		c, err := l.Accept()
		switch {
		case err == nil:
			answering.Go(func() {
				defer func() { <-room }()
				e.tell(c)
			})
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		<-room
		log.Warn("agent-check: accept failed", "err", err)
		select {
		case <-time.After(agentPause):
		case <-ctx.Done():
		}
	}
}

// tell answers one connection.
func (e *Endpoint) tell(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(agentTime))
	if _, err := io.WriteString(c, e.Verdict().AgentLine()+"\n"); err != nil {
		return // who asked has gone
	}
	// Closed with something unread the kernel would reset the connection, and our
	// line might be lost.
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, maxAgentSend)
	}
}
