package forward

import (
	"testing"
	"unsafe"
)

// header is what the allocator puts before a large object with pointers.
const header = 8

// Chunks fit their classes of the allocator, and fill them.
func TestChunksFillTheirClasses(t *testing.T) {
	for _, c := range []struct {
		name             string
		size, one, class uintptr
	}{
		{"slots", unsafe.Sizeof(chunk{}), unsafe.Sizeof(slot{}), 16 << 10},
		{"keys", unsafe.Sizeof(keyChunk{}), unsafe.Sizeof(secured{}), 32 << 10},
		{"meters", unsafe.Sizeof(meterChunk{}) + header, unsafe.Sizeof(meter{}), 8 << 10},
	} {
		if c.size > c.class || c.size+c.one <= c.class {
			t.Errorf("a chunk of %s takes %d octets, %d each; the class has %d", c.name, c.size, c.one, c.class)
		}
	}
}
