package forward

import (
	"bytes"
	"io"
	"testing"
)

// A loop in which nothing moves keeps nothing ready: no page of its big buffers,
// no spare buffer, no pipe. Its sessions go on all the same.
func TestQuietLoopRests(t *testing.T) {
	r, _ := runReactor(t)
	l := r.loops[0]
	before := descriptors(t)
	var rigs []*rig
	for _, layout := range layouts[4:8] {
		rigs = append(rigs, start(t, r, layout.client, layout.server, "", ""))
	}
	echo := func() {
		t.Helper()
		for _, s := range rigs {
			chunk := make([]byte, 100<<10)
			go func() { _, _ = s.client.Write(chunk) }() // ends when the server has read it
			if _, err := io.ReadFull(s.server, make([]byte, len(chunk))); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = s.server.Write(chunk) }() // the same the other way
			if _, err := io.ReadFull(s.client, make([]byte, len(chunk))); err != nil {
				t.Fatal(err)
			}
		}
	}
	look := func(f func()) {
		done := make(chan struct{})
		l.tell(order{look: func() { f(); close(done) }})
		<-done
	}
	echo()
	dirty := func(b []byte) bool { return len(bytes.Trim(b, "\x00")) > 0 }
	look(func() {
		if used := dirty(l.seal) && dirty(l.open); l.rested || !used && testKernel() == KernelOff {
			t.Error("the loop has moved data and counts as rested") // the kernel needs no pages of ours
		}
	})
	for rested := false; !rested; {
		look(func() { // as if the time were over
			l.moved = l.clock - restTime
			clear(l.aeads)
		})
		look(func() { rested = l.rested })
	}
	look(func() {
		if dirty(l.seal) || dirty(l.open) {
			t.Error("pages are kept")
		}
		for class, spare := range l.bufs.spare {
			if len(spare) > 0 {
				t.Errorf("%d spare buffers of %d octets are kept", len(spare), spillClasses[class])
			}
		}
		if l.pipes.open != 0 || l.fifo != nil || l.spare != nil {
			t.Errorf("%d pipes, lists of %d and %d are kept", l.pipes.open, cap(l.fifo), cap(l.spare))
		}
	})
	if grown := descriptors(t) - before; grown > 4*len(rigs) {
		t.Errorf("%d descriptors more for %d sessions and as many peers, want 4 each", grown, len(rigs))
	}
	echo()
}
