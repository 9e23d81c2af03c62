package forward

import (
	"io"
	"testing"
	"time"
)

// Sessions that all fetch one long message after another are not in a dialogue beside each
// other: each may move as much in a turn as if nobody were. One that goes on with short
// messages is, though it was in bulk before, and so is one after a pause.
func TestCommandsOfBulkAreNoDialogue(t *testing.T) {
	r, _ := runReactor(t)
	l := r.loops[0]
	var rigs []*rig
	for range 3 {
		rigs = append(rigs, start(t, r, false, false, "", ""))
	}
	pass := func(from io.Writer, to io.Reader, n int) {
		t.Helper()
		go func() { _, _ = from.Write(make([]byte, n)) }() // ends when all is read
		if _, err := io.ReadFull(to, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	fetch := func(s *rig) {
		pass(s.client, s.server, 20)
		pass(s.server, s.client, 256<<10)
		pass(s.server, s.client, 20)
	}
	talked := func() (at int64) {
		inLoop(l, func() { at = l.talked })
		return at
	}
	var before int64
	for rounds := 0; rounds <= betweenTurns; { // each has two or three short turns of each
		began := time.Now()
		for _, s := range rigs {
			fetch(s)
		}
		if time.Since(began) > time.Duration(betweenTime/2) {
			rounds = 0 // the machine has made a pause, and whoever pauses is in a dialogue
			continue
		}
		if rounds++; rounds == 1 {
			before = talked()
		}
	}
	if talked() != before {
		t.Error("who fetches one message after another counts as in a dialogue")
	}
	talk := func() {
		for _, s := range rigs[:2] { // the one that was in bulk last may not count
			pass(s.client, s.server, 20)
		}
	}
	for range betweenTurns + 1 {
		talk()
	}
	if talked() == before {
		t.Error("who goes on with short messages does not count as in a dialogue")
	}
	for _, s := range rigs {
		fetch(s)
	}
	inLoop(l, func() {
		before = l.talked
		for id := range rigs { // they were the first
			l.sessions.at(int32(id)).last -= betweenTime + 1
		}
	})
	talk()
	if talked() == before {
		t.Error("who has paused after a long message and goes on does not count as in a dialogue")
	}
}
