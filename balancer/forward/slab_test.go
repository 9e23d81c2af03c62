package forward

import (
	"testing"
	"unsafe"
)

// before is what the allocator puts before a large object with pointers.
const before = 8

// Chunks fit their classes of the allocator, and fill them.
func TestChunksFillTheirClasses(t *testing.T) {
	for _, c := range []struct {
		name             string
		size, one, class uintptr
	}{
		{"slots", unsafe.Sizeof(chunk{}), unsafe.Sizeof(slot{}), 16 << 10},
		{"keys", unsafe.Sizeof(keyChunk{}), unsafe.Sizeof(secured{}), 32 << 10},
		{"meters", unsafe.Sizeof(meterChunk{}) + before, unsafe.Sizeof(meter{}), 8 << 10},
	} {
		if c.size > c.class || c.size+c.one <= c.class {
			t.Errorf("a chunk of %s takes %d octets, %d each; the class has %d", c.name, c.size, c.one, c.class)
		}
	}
}

// An ended session's account can be read until its meter serves another one or
// the chunk is given back, and never shows another's.
func TestMetersComeAndGo(t *testing.T) {
	l := new(loop)
	const sessions = 9*meterChunkSize + 1 // the directory grows
	var flows []Flow
	for i := range uint64(sessions) {
		f := Flow{l, l.meters.take(&Pair{Tag: i}, wayUser)}
		l.meters.at(f.id).in.Store(i)
		flows = append(flows, f)
	}
	for i, f := range flows {
		if in, _ := f.Bytes(); in != uint64(i) || f.Path() != "user" {
			t.Fatalf("session %d moved %d octets by %q", i, in, f.Path())
		}
		if e := l.meters.give(f.id, Result{}); e.res.Tag != uint64(i) || e.res.In != uint64(i) {
			t.Fatalf("the account of session %d is %+v", i, e.res)
		}
		f.Kill() // does nothing, and needs no loop
		if in, _ := f.Bytes(); in != uint64(i) || f.IdleFor() != 0 {
			t.Fatalf("after its end session %d has %d octets and is idle for %v", i, in, f.IdleFor())
		}
	}
	again := l.meters.take(&Pair{}, waySplice)
	if in, _ := flows[again.id].Bytes(); in != 0 {
		t.Errorf("a meter that serves another session shows %d octets", in)
	}
	l.meters.give(again.id, Result{})
	l.meters.tidy()
	if in, _ := flows[1].Bytes(); in != 1 {
		t.Error("an account is forgotten at once")
	}
	l.meters.tidy()
	for c := range *l.meters.dir.Load() {
		if (*l.meters.dir.Load())[c].Load() != nil {
			t.Error("a chunk without sessions is kept")
		}
	}
	if in, out := flows[1].Bytes(); in+out != 0 {
		t.Error("what is forgotten is shown")
	}
}
