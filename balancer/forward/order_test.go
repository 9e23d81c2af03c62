package forward

import (
	"io"
	"testing"
)

// Sessions that all fetch one long message after another are not in a dialogue beside each
// other: each may move as much in a turn as if nobody were. One that goes on with short
// messages is, though it was in bulk before.
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
	for _, s := range rigs {
		fetch(s)
	}
	before := talked()
	if before == 0 {
		t.Error("those who have not fetched anything yet are not in a dialogue")
	}
	for range 2 * betweenTurns {
		for _, s := range rigs {
			fetch(s)
		}
	}
	if talked() != before {
		t.Error("who fetches one message after another counts as in a dialogue")
	}
	for range betweenTurns + 1 {
		for _, s := range rigs[:2] { // the one that was in bulk last may not count
			pass(s.client, s.server, 20)
		}
	}
	if talked() == before {
		t.Error("who goes on with short messages does not count as in a dialogue")
	}
}
