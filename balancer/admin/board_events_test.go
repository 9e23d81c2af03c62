package admin

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// late are other nodes whose answers come when they are let go.
type late struct {
	others
	letGo chan struct{}
}

func (l *late) Events(q json.RawMessage, got func(string, json.RawMessage)) error {
	<-l.letGo
	return l.others.Events(q, got)
}

// A board waits for no node that is dead: it has what is known, and the rest as soon as
// that is there. Users are not named, and the newest comes first.
func TestBoardEvents(t *testing.T) {
	own, two := NewEvents(), NewEvents()
	peers := &late{others: others{nodes: map[string]*Events{"edge-2": two}, dead: map[string]bool{}}, letGo: make(chan struct{})}
	s := &Server{gathering: newGathering(own, peers)}
	log := slog.New(own.Handler(slog.DiscardHandler))
	for range 2 * boardEventCount {
		log.Info("move", "event", "user_moved", "user", "joe", "backend", "mail2", "by", "ann")
	}
	log.Error("the node is stuck", "event", "node_stuck")

	list := s.boardEvents() // the other node has not answered yet
	if len(list) != boardEventCount || list[0].Code != "node_stuck" || list[0].Level != LevelCritical || list[0].Node != "edge-1" {
		t.Fatalf("%d events, the first %+v", len(list), list[0])
	}
	if list[1].Text != "move (backend mail2)" || list[1].Level != LevelNotice {
		t.Errorf("got %+v", list[1])
	}
	s.boardEvents() // nor is it asked twice
	slog.New(two.Handler(slog.DiscardHandler)).Warn("back end is down", "event", "backend_down", "backend", "mail1", "pool", "main", "err", errors.New("joe said so"))
	close(peers.letGo)
	for deadline := time.Now().Add(20 * time.Second); ; {
		found := false
		for _, e := range s.boardEvents() {
			found = found || e.Node == "edge-2" && e.Level == LevelWarning && e.Text == "back end is down (backend mail1, pool main)"
			if strings.Contains(e.Text, "joe") || strings.Contains(e.Text, "ann") {
				t.Fatalf("somebody is named: %+v", e)
			}
		}
		if found {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the events of the other node never come")
		}
	}
	peers.set("edge-2", two, true)
	if list := s.boardEvents(); len(list) != boardEventCount {
		t.Errorf("with a dead node: %d events", len(list))
	}
}
