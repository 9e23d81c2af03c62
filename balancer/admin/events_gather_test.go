package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// paged lets a test look in between two answers of a node.
type paged struct {
	*others
	between func()
}

func (p paged) Events(only []string, q json.RawMessage, got func(string, json.RawMessage)) error {
	return p.others.Events(only, q, func(node string, answer json.RawMessage) {
		got(node, answer)
		p.between()
	})
}

// TestOldIsNotNew: who follows from now on is not shown what a node had before, whether it
// comes in several answers or from a node that did not answer at first.
func TestOldIsNotNew(t *testing.T) {
	old := NewEvents()
	log := slog.New(old.Handler(slog.DiscardHandler))
	for range maxEvents {
		log.Info("old", "event", "limit_reached", "text", strings.Repeat("x", maxEventText))
	}
	from := make(position)
	from.begin(time.Now())
	answers := 0
	var g *gathering
	look := func() {
		answers++
		if list, _, _ := g.after(from); len(list) > 0 {
			t.Fatalf("after answer %d %d old events are shown as new", answers, len(list))
		}
	}
	g = newGathering(NewEvents(), paged{&others{nodes: map[string]*Events{"edge-2": old}, dead: map[string]bool{}}, look})
	for range 3 { // as long as it takes under load
		g.round(0)
	}
	if look(); answers < 3 {
		t.Fatalf("it came in %d answers, which proves nothing", answers)
	}
	all := g.peers.(paged).others
	g.peers = all
	log.Info("new", "event", "backend_up")
	g.round(0)
	if list, _, _ := g.after(from); len(list) != 1 || list[0].Code != "backend_up" {
		t.Errorf("what is new: got %s", codes(list))
	}

	// Another node is seen for the first time by who comes again.
	again, err := parsePosition(from.String())
	if err != nil {
		t.Fatal(err)
	}
	third := NewEvents()
	three := slog.New(third.Handler(slog.DiscardHandler))
	third.add(Event{Number: 1, Run: third.run, Time: time.Now().Add(-time.Hour), Code: "usher_started"})
	three.Info("new", "event", "backend_down")
	all.set("edge-3", third, false)
	g.round(0)
	if list, _, _ := g.after(again); codes(list) != "edge-3 backend_down" {
		t.Errorf("of a node that is not in the position: got %s", codes(list))
	}
}

// TestMissingIsSteady: that nodes do not answer is told once, whatever the order and the
// ports that they are told with.
func TestMissingIsSteady(t *testing.T) {
	first := errors.Join(fmt.Errorf("node b: dial 10.0.0.1:44444: refused"), fmt.Errorf("node a: it cannot be seen, and may have users"), errors.New("node a: again"))
	second := errors.Join(fmt.Errorf("node a: timeout"), fmt.Errorf("node b: dial 10.0.0.1:55555: refused"))
	if got := missingNodes(first); !slices.Equal(got, []string{"a", "b"}) || !slices.Equal(got, missingNodes(second)) {
		t.Errorf("got %q and %q", got, missingNodes(second))
	}
	if got := missingNodes(nil); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// A liar says that it has more, for ever.
type liar struct{ asked, last int }

func (l *liar) Name() string { return "edge-1" }

func (l *liar) Events(only []string, _ json.RawMessage, got func(string, json.RawMessage)) error {
	if only != nil && !slices.Contains(only, "edge-2") {
		return nil
	}
	l.asked++
	l.last++
	got("edge-2", json.RawMessage(fmt.Sprintf(`{"run":"a","more":true,"events":[{"number":%d,"event":"x","time":"2026-01-01T00:00:00Z"}]}`, l.last)))
	return errors.New("node edge-3: timeout")
}

// TestRoundIsBounded: a node that has more for ever does not hold a round, and those who
// are no members of the fleet any more are forgotten.
func TestRoundIsBounded(t *testing.T) {
	l := new(liar)
	g := newGathering(NewEvents(), l)
	g.round(0)
	if l.asked > eventsPages {
		t.Errorf("it was asked %d times", l.asked)
	}
	if len(g.mirrors) != 1 {
		t.Errorf("%d nodes are known", len(g.mirrors))
	}
	g.members = func() []string { return []string{"edge-1", "edge-3"} }
	g.round(0)
	if len(g.mirrors) != 0 {
		t.Error("who is no member is kept")
	}
	g.members = nil
	for i := range maxMirrors + 5 {
		g.got(fmt.Sprintf("node-%d", i), json.RawMessage(`{"run":"a","events":[]}`))
	}
	if _, newest := g.mirrors[fmt.Sprintf("node-%d", maxMirrors+4)]; len(g.mirrors) != maxMirrors || !newest {
		t.Errorf("%d nodes are kept, the newest: %v", len(g.mirrors), newest)
	}
}

// TestOnlyThoseWithMore: in one round a node that has not answered is asked once.
func TestOnlyThoseWithMore(t *testing.T) {
	many := NewEvents()
	log := slog.New(many.Handler(slog.DiscardHandler))
	for range maxEvents {
		log.Info("x", "event", "limit_reached", "text", strings.Repeat("x", maxEventText))
	}
	o := &counted{others: &others{nodes: map[string]*Events{"edge-2": many, "edge-3": NewEvents()}, dead: map[string]bool{"edge-3": true}}, of: map[string]int{}}
	newGathering(NewEvents(), o).round(0)
	if o.of["edge-2"] < 2 || o.of["edge-3"] != 1 {
		t.Errorf("asked %v times", o.of)
	}
}

// counted counts who is asked.
type counted struct {
	*others
	of map[string]int
}

func (c *counted) Events(only []string, q json.RawMessage, got func(string, json.RawMessage)) error {
	for node := range c.nodes {
		if only == nil || slices.Contains(only, node) {
			c.of[node]++
		}
	}
	return c.others.Events(only, q, got)
}

// TestBoardWaitsForNoEvents: a node that hangs does not keep a board from who looks.
func TestBoardWaitsForNoEvents(t *testing.T) {
	b := newBoard(t)
	b.log.Info("x", "event", "backend_up")
	b.boardEvents()
	if b.others.asked != 0 {
		t.Errorf("a board has asked other nodes %d times before it was shown", b.others.asked)
	}
	if list := b.boardEvents(); len(list) != 1 {
		t.Errorf("got %+v", list)
	}
}

// TestSeats: those who may less, and have not said who they are, shut nobody else out.
func TestSeats(t *testing.T) {
	var s seats
	var leave func()
	for _, c := range []Caller{{Name: "nobody"}, {"ann", RoleRead, viaToken}, {"bob", RoleOperate, viaToken}, {"uid 0", RoleSocket, viaSocket}} {
		for i := range maxViewers {
			var ok bool
			if leave, ok = s.enter(c, maxViewers); !ok {
				t.Fatalf("%+v: no seat %d", c, i)
			}
		}
		if _, ok := s.enter(c, maxViewers); ok {
			t.Errorf("%+v: one more than %d", c, maxViewers)
		}
		leave()
		if _, ok := s.enter(c, maxViewers); !ok {
			t.Errorf("%+v: the seat of one who has left is taken", c)
		}
	}
}

// TestStopEndsStreams: who follows does not hold up the end of a server.
func TestStopEndsStreams(t *testing.T) {
	b := newBoard(t)
	in, end := b.follow(t, "", "")
	defer end()
	until(t, in, "id: ")
	began := time.Now()
	b.stop()
	if took := time.Since(began); took >= shutdownTime {
		t.Logf("it took %v", took)
	}
	for { // in good order: not cut off
		if _, err := in.ReadString('\n'); err != nil {
			if err != io.EOF {
				t.Errorf("the stream was cut off: %v", err)
			}
			return
		}
	}
}
