package sim

import (
	"container/heap"
	"math/rand/v2"
)

// An event is something that will happen.
type event struct {
	at  int64
	seq uint64
	do  func()
}

// A queue has what will happen, in order.
type queue struct {
	events events
	seq    uint64
}

func (q *queue) at(t int64, do func()) {
	q.seq++
	heap.Push(&q.events, event{t, q.seq, do})
}

func (q *queue) pop() event { return heap.Pop(&q.events).(event) }

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	old[len(old)-1] = event{}
	*e = old[:len(old)-1]
	return x
}

// A clock is a machine's: it differs from the true one by an offset and by at most
// 1 % in its rate.
type clock struct {
	offset int64
	ppm    int64
}

func newClock(rng *rand.Rand) clock {
	c := clock{offset: rng.Int64N(500 * second)}
	switch rng.IntN(3) {
	case 0:
		c.ppm = -10000
	case 1:
		c.ppm = 10000
	default:
		c.ppm = rng.Int64N(20001) - 10000
	}
	return c
}

// local is what the clock shows at a true time.
func (c clock) local(t int64) int64 { return c.offset + t + (t-begin)*c.ppm/1e6 }

// true is when the clock shows a time.
func (c clock) trueAt(l int64) int64 {
	return begin + (l-c.offset-begin)/(1e6+c.ppm)*1e6 + (l-c.offset-begin)%(1e6+c.ppm)*1e6/(1e6+c.ppm)
}
