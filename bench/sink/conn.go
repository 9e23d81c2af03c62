package sink

import (
	"net"
	"sync"

	"usher.example/bench/bulk"
)

const (
	// maxLine bounds a command with the literals in it, or a PROXY header: more
	// than any that the targets send.
	maxLine = 16 << 10
	// firstSize is what a connection begins with: a login and its answers. An
	// idle session keeps these two.
	firstSize = 512
	// maxAnswers is how much of pipelined answers is gathered before it is sent.
	maxAnswers = 32 << 10
	// largeSize holds them, and what one more step may add.
	largeSize = maxAnswers + copied + maxLine
	// copied is the size of a message up to which a copy, sent together with
	// what is around it, is cheaper than two writes more.
	copied = 16 << 10
)

// A dialogue is the server's side of a protocol, as a pure state machine.
type dialogue interface {
	// greet is what the server says first.
	greet() string
	// next takes one step: it consumes in[:n], appends the answer to dst, and
	// says what is to be done after that was sent.
	next(dst, in []byte) (n int, out []byte, a action)
}

// An action is what a dialogue cannot do itself, having no socket.
type action struct {
	kind kind
	size int64 // of send and drop, at least 0
	own  int64 // octets of the message sent that the dialogue says itself
}

type kind uint8

const (
	more    kind = iota // nothing can be done without more octets
	step                // call next again
	login               // the same, and somebody has logged in
	refusal             // the same, and somebody has not
	send                // send so many octets of message
	drop                // receive so many octets of message, and forget them
	quit                // close
)

// larges are buffers for answers with a message in them: no session keeps one.
var larges = sync.Pool{New: func() any { return new([largeSize]byte) }}

// serve is one connection, from its greeting to its end.
func (s *Server) serve(c *net.TCPConn, d dialogue) {
	defer s.gone(c)
	in, r, w := make([]byte, firstSize), 0, 0 // in[r:w] is what was not consumed yet
	small := make([]byte, 0, firstSize)
	out := append(small, d.greet()...)
	var large *[largeSize]byte
	flush := func() bool {
		if len(out) == 0 {
			return true
		}
		_, err := c.Write(out)
		if out = small; large != nil {
			larges.Put(large)
			large = nil
		}
		return err == nil
	}
	for {
		n, answer, a := d.next(out, in[r:w])
		out, r = answer, r+n
		switch a.kind {
		case more:
			if !flush() {
				return
			}
			if r > 0 {
				r, w = 0, copy(in, in[r:w])
			}
			if w == len(in) {
				if w >= maxLine {
					return
				}
				in = append(in, make([]byte, len(in))...)
			}
			n, err := c.Read(in[w:])
			if err != nil {
				return
			}
			w += n
		case step:
		case login:
			s.counts.logins.Add(1)
		case refusal:
			s.counts.refused.Add(1)
		case send:
			if a.size <= copied {
				if large == nil {
					large = larges.Get().(*[largeSize]byte)
					out = append(large[:0], out...)
				}
				out = append(out, bulk.Page()[:a.size]...)
			} else {
				if bulk.Head(c, out) != nil || s.send(c, a.size) != nil {
					return
				}
				out = out[:0]
			}
			s.counts.sent.Add(a.size + a.own)
		case drop:
			had := min(a.size, int64(w-r))
			r += int(had)
			if !flush() || bulk.Drop(c, a.size-had) != nil {
				return
			}
			s.counts.received.Add(a.size)
		case quit:
			flush()
			return
		}
		if len(out) > maxAnswers && !flush() {
			return
		}
	}
}
