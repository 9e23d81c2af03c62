package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"

	"usher.example/cluster"
)

const (
	// tidyEvery is the time between two looks whether memory can be given back. A look
	// wakes the processor; after a rush that has ended two of them pass at most.
	tidyEvery = 2 * time.Second

	// tidyStep is how much more than after the last time makes it worth a
	// garbage collection: what 300 idle sessions take. It is done at rest only, and
	// takes some milliseconds.
	tidyStep = 256 << 10

	// tidyRest is the same where no connection has come meanwhile: probes leave 10 KiB a
	// second, and a node at rest has better to do than to collect that all the time.
	tidyRest = 1 << 20

	// tidyFew is how many connections between two looks are no rush any more, and
	// tidyLot how much is given back although they come: a collection for some
	// hundred logins is none for each of them.
	tidyFew = 20
	tidyLot = 32 << 20

	// tidyAgain is after how many looks it is done once more: what the engine
	// keeps ready for sessions in use is given up by then.
	tidyAgain = 3
)

// tidy gives memory back to the kernel once a rush of connections is over. A
// handshake leaves 70 KiB of garbage, an established session less than one: a
// node at rest should not look like one in the storm after a power cut.
func (n *node) tidy() {
	beat := time.NewTimer(cluster.Beat(tidyEvery))
	defer beat.Stop()
	sample := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	held := func() (sum uint64) {
		metrics.Read(sample)
		for _, s := range sample {
			sum += s.Value.Uint64()
		}
		return sum
	}
	var t tidier
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-beat.C:
		}
		beat.Reset(cluster.Beat(tidyEvery))
		accepted := uint64(0)
		for _, st := range n.server.Stats() {
			accepted += st.Accepted.Load()
		}
		now := held()
		if t.due(accepted, now) {
			debug.FreeOSMemory()
			t.floor = held()
		}
		t.floor = min(t.floor, now)
	}
}

// A tidier says when. The zero value is ready.
type tidier struct {
	last  uint64 // connections that had been accepted at the last look
	floor uint64 // octets that the heap held when it was least, since it was tidied last
	again int    // looks that are left until it is done once more
}

// due says whether to collect now, when so many connections have been accepted since the
// start and the heap holds so many octets.
func (t *tidier) due(accepted, held uint64) (due bool) {
	came := accepted - t.last
	t.last = accepted
	if held > t.floor+tidyRest || came > 0 && held > t.floor+tidyStep {
		t.again = tidyAgain
	}
	switch {
	case came > 0:
		return came <= tidyFew && held > t.floor+tidyLot
	case t.again > 0:
		t.again--
		return t.again == 0 || held > t.floor+tidyStep
	}
	return false
}
