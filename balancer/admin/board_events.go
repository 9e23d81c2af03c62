package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// boardEventCount is how many events a Board has: what a page can show at once.
const boardEventCount = 30

// boardEvents are the last events of all nodes that are known here, newest first, without
// users' names. Nobody is asked for them: who looks at a board sees to that.
func (s *Server) boardEvents() []BoardEvent {
	list := s.gatheredEvents(wish{limit: boardEventCount}).Events
	events := make([]BoardEvent, 0, len(list))
	for _, e := range slices.Backward(list) {
		events = append(events, BoardEvent{Time: e.Time, Node: e.Node, Level: boardLevel(e.Level), Code: e.Code, Text: eventText(e)})
	}
	return events
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

// memberNames are the nodes of the fleet, as far as this one knows.
func (s *Server) memberNames() (names []string) {
	view := s.o.Fleet.Overview()
	for _, m := range view.Members {
		names = append(names, m.Node)
	}
	return append(names, s.o.Fleet.MissingVoters()...)
}
