package forward

// spillClasses are the sizes that pending buffers come in: a part of a message,
// a record, turns of four, of sixteen and of sixty-four.
var spillClasses = [...]int{1 << 10, 4 << 10, 17 << 10, 68 << 10, 272 << 10, 1088 << 10}

// spareBuffers is how many free ones of a class a loop keeps, and spareRoom how many
// octets of a class.
const (
	spareBuffers = 16
	spareRoom    = 4 << 20
)

// A pool keeps what is pending: parts of records that came, and output that a
// socket did not take. Buffers belong to a session only while they hold
// something. What held plaintext is overwritten before it serves another one.
type pool struct {
	items []item
	free  []int32
	spare [len(spillClasses)][][]byte
	held  int // octets of all buffers in use
}

type item struct {
	buf []byte // all of it
	off int
	end int
}

// keep copies p into a buffer and returns its index.
func (p *pool) keep(data []byte) int32 {
	i := int32(len(p.items))
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.items = append(p.items, item{})
	}
	buf := p.buffer(len(data))
	p.items[i] = item{buf: buf, end: copy(buf, data)}
	return i
}

func (p *pool) buffer(n int) []byte {
	for c, size := range spillClasses {
		if n > size {
			continue
		}
		if s := p.spare[c]; len(s) > 0 {
			buf := s[len(s)-1]
			p.spare[c] = s[:len(s)-1]
			p.held += size
			return buf
		}
		p.held += size
		return make([]byte, size)
	}
	p.held += n
	return make([]byte, n)
}

// at returns what is pending in buffer i.
func (p *pool) at(i int32) []byte { return p.items[i].buf[p.items[i].off:p.items[i].end] }

// more appends to buffer i.
func (p *pool) more(i int32, data []byte) {
	it := &p.items[i]
	if it.end+len(data) <= len(it.buf) {
		it.end += copy(it.buf[it.end:], data)
		return
	}
	old := p.at(i)
	buf := p.buffer(len(old) + len(data))
	n := copy(buf, old)
	n += copy(buf[n:], data)
	p.release(it.buf, it.end)
	*it = item{buf: buf, end: n}
}

// keepOnly keeps rest, which is the tail of what is pending in i.
func (p *pool) keepOnly(i int32, rest []byte) { p.items[i].off = p.items[i].end - len(rest) }

// drop gives buffer i back, if it is one, and returns none.
func (p *pool) drop(i int32) int32 {
	if i == none {
		return none
	}
	p.release(p.items[i].buf, p.items[i].end)
	p.items[i] = item{}
	p.free = append(p.free, i)
	return none
}

func (p *pool) release(buf []byte, used int) {
	p.held -= len(buf)
	clear(buf[:used])
	for c, size := range spillClasses {
		if len(buf) == size && len(p.spare[c]) < min(spareBuffers, spareRoom/size) {
			p.spare[c] = append(p.spare[c], buf)
		}
	}
}
