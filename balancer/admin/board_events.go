package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// boardEventCount is how many events a Board has: what a page can show at once.
const boardEventCount = 30

// boardEventsTime is how long a Board waits for the events of other nodes. Nodes that are
// well answer within it; what a dead one holds up is on the next Board.
const boardEventsTime = 300 * time.Millisecond

// boardEvents are the last events of all nodes, newest first, without users' names. It
// waits for no node that does not answer.
func (s *Server) boardEvents() []BoardEvent {
	s.gathering.refresh(boardEventsTime)
	known, _, _ := s.gathering.after(make(position), time.Time{})
	list := wish{level: "info"}.pick(known)
	list = list[max(0, len(list)-boardEventCount):]
	events := make([]BoardEvent, 0, len(list))
	for _, e := range slices.Backward(list) {
		events = append(events, BoardEvent{Time: e.Time, Node: e.Node, Level: boardLevel(e.Level), Code: e.Code, Text: eventText(e)})
	}
	return events
}

// refresh asks the other nodes, and waits for their answers for so long at most. There is
// one question at a time, which ends by itself: a node has seconds to answer.
func (g *gathering) refresh(patience time.Duration) {
	if g.peers == nil {
		return
	}
	g.mu.Lock()
	done := g.refreshing
	if done == nil {
		done = make(chan struct{})
		g.refreshing = done
		go func() {
			g.round(eventsFresh)
			g.mu.Lock()
			g.refreshing = nil
			g.mu.Unlock()
			close(done)
		}()
	}
	g.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

func boardLevel(level string) string {
	switch level {
	case "error":
		return LevelCritical
	case "warn":
		return LevelWarning
	}
	return LevelNotice
}

// eventText is an event in a line: its message, and what it is about.
func eventText(e Event) string {
	var about []string
	for _, name := range slices.Sorted(maps.Keys(e.Attrs)) {
		about = append(about, fmt.Sprintf("%s %v", strings.ReplaceAll(name, "_", " "), e.Attrs[name]))
	}
	if len(about) == 0 {
		return e.Message
	}
	return e.Message + " (" + strings.Join(about, ", ") + ")"
}
