package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// boardEventCount is how many events a Board has: what a page can show at once.
const boardEventCount = 30

// boardEvents are the last events of all nodes, newest first, without users' names.
func (s *Server) boardEvents() []BoardEvent {
	list, _ := s.RecentEvents(boardEventCount)
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
