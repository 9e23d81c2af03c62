package forward

import (
	"crypto/cipher"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// turnOf moves what a session has to move, within budget in each direction.
// True means that there is more to do without another event.
func (l *loop) turnOf(id int32, s *slot, budget int) (more bool) {
	gen := s.gen
	for from := range s.half {
		m := l.move(id, s, from, budget)
		if l.sessions.find(id, gen) == nil {
			return false // it has ended
		}
		more = more || m
	}
	return more
}

// move moves one direction, from a side to the other.
func (l *loop) move(id int32, s *slot, from, budget int) (more bool) {
	src, dst := &s.half[from], &s.half[1-from]
	gen := s.gen
	for budget > 0 {
		if !l.flush(id, s, 1-from) {
			return false
		}
		if src.flags&atEOF != 0 {
			l.passEOF(id, s, from)
			return false
		}
		if src.flags&(canRead|stale) == 0 {
			return false
		}
		n, err := l.pump(id, s, from, min(budget, int(src.window)))
		if l.sessions.find(id, gen) == nil {
			return false
		}
		if err != nil && !l.failRead(id, s, from, err) {
			return false
		}
		budget -= max(n, 1)
		if dst.out != none || dst.pipe != none {
			src.window = 1 // the other side is slow: pin little
			return false   // its event brings us back
		}
	}
	return true
}

// pump reads once and hands on what came; n is about how many records that
// were.
func (l *loop) pump(id int32, s *slot, from, budget int) (n int, err error) {
	src, dst := &s.half[from], &s.half[1-from]
	switch {
	case from == 0 && !src.opens() && s.half[1].flags&(atEOF|shut) != 0:
		return l.discard(id, s) // a back end that is gone hears nothing more
	case src.opens():
		return l.pumpOpen(id, s, from, budget)
	case dst.seals():
		return l.pumpSeal(id, s, from, budget)
	}
	return l.pumpSplice(id, s, from, budget)
}

// grow adapts the window of a source to what a read of at most asked octets
// brought: full reads are bulk.
func (h *half) grow(got, asked int) {
	switch {
	case got >= asked:
		h.window = min(h.window*2, aloneBudget)
	case h.flags&(hungUp|opening) == 0:
		// A short read has emptied the socket; what comes now makes a new
		// event. Data and FIN queued together make only one, hence hungUp. The
		// kernel gives short reads of its own accord where it opens records.
		h.flags &^= canRead
		fallthrough
	default:
		if got < asked/4 {
			h.window = max(h.window/2, 1)
		}
	}
}

// drained notes the result of a read: n and whether the source has ended.
func (h *half) drained(n int, err error) (int, bool, error) {
	switch {
	case errors.Is(err, unix.EAGAIN):
		h.flags &^= canRead
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case n == 0:
		h.flags |= atEOF
		return 0, true, nil
	}
	return n, false, nil
}

// retry repeats a system call that a signal interrupted: Go's scheduler sends
// them.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// pumpSeal reads plaintext into slots and seals it where it lies.
func (l *loop) pumpSeal(id int32, s *slot, from, budget int) (int, error) {
	src, dst := &s.half[from], &s.half[1-from]
	k := l.keys.at(dst.tls)
	if err := l.rekey(dst, k, budget); err != nil {
		l.end(id, s, lost(1-from), err)
		return 0, nil
	}
	if !l.flush(id, s, 1-from) {
		return 0, nil // a KeyUpdate goes first, and the socket is full
	}
	head, tail := k.w.Head(), k.w.Tail()
	stride := head + record.MaxPlaintext + tail
	l.iov = l.iov[:0]
	for i := range budget {
		l.iov = append(l.iov, l.seal[i*stride+head:][:record.MaxPlaintext])
	}
	var got int
	var err error
	if len(l.iov) == 1 {
		got, err = read(src.fd, l.iov[0])
	} else {
		got, err = retry(func() (int, error) { return unix.Readv(int(src.fd), l.iov) })
	}
	if src.flags&opening != 0 && (got <= 0 || err != nil) {
		return l.control(id, s, from, err)
	}
	got, eof, err := src.drained(got, err)
	if err != nil || eof || got == 0 {
		return 0, err
	}
	src.grow(got, budget*record.MaxPlaintext)
	if err := l.passed(src); err != nil {
		return 0, err
	}
	a, err := l.aead(dst.tls, true, &k.w.Keys)
	if err != nil {
		l.end(id, s, lost(1-from), err)
		return 0, nil
	}
	records, size := 0, 0
	for left := got; left > 0; records++ {
		n := min(left, record.MaxPlaintext)
		rec, err := k.w.SealSlot(l.seal[records*stride:][:head+n+tail], a, n)
		if err != nil {
			l.end(id, s, lost(1-from), err)
			return 0, nil
		}
		size, left = records*stride+len(rec), left-n
	}
	l.count(id, 1-from, got)
	l.send(id, s, 1-from, l.seal[:size])
	return records, nil
}

// pumpOpen reads records, opens them where they lie, and hands the plaintext on.
func (l *loop) pumpOpen(id int32, s *slot, from, budget int) (int, error) {
	src := &s.half[from]
	have := 0
	if src.in != none {
		have = copy(l.open, l.bufs.at(src.in))
		src.in = l.bufs.drop(src.in)
	}
	fresh := 0
	if src.flags&canRead != 0 {
		asked := max(budget*record.MaxRecord-have, record.MaxRecord)
		asked = min(asked, len(l.open)-have)
		got, err := read(src.fd, l.open[have:have+asked])
		got, _, err = src.drained(got, err)
		if err != nil {
			return 0, err
		}
		if got > 0 {
			src.grow(got, asked)
		}
		fresh = got
	}
	src.flags &^= stale
	used, records, err := l.openAll(id, s, from, l.open[:have+fresh])
	if s.gen == 0 || err != nil {
		return records, err
	}
	// A part of a record at the end of the stream is nothing. Mail has its own
	// framing, so the end is passed on as one (RFC 8446 §6.1 leaves that to us).
	if rest := l.open[used : have+fresh]; len(rest) > 0 && src.flags&atEOF == 0 {
		src.in = l.bufs.keep(rest)
	}
	return records, nil
}

// openAll opens the whole records in buf and hands their data on.
func (l *loop) openAll(id int32, s *slot, from int, buf []byte) (used, records int, err error) {
	src := &s.half[from]
	k := l.keys.at(src.tls)
	l.iov = l.iov[:0]
	total := 0
	for used < len(buf) {
		_, whole, perr := k.r.Parse(buf[used:])
		if perr != nil {
			err = perr
			break
		}
		if !whole {
			break
		}
		a, aerr := l.aead(src.tls, false, &k.r.Keys)
		if aerr != nil {
			err = aerr
			break
		}
		n, ev, nerr := k.r.Next(a, buf[used:])
		if nerr != nil {
			err = nerr
			break
		}
		used += n
		records++
		switch ev.Kind {
		case record.Data:
			l.iov = append(l.iov, ev.Data)
			total += len(ev.Data)
		case record.Updated:
			if ev.Answer {
				k.w.Owe()
			}
		case record.Closed:
			src.flags |= atEOF
			used = len(buf) // nothing counts any more
		case record.None, record.Ticket:
		}
	}
	l.handOn(id, s, from, total)
	return used, records, err
}

// handOn sends on what l.iov holds of a side's data, total octets. The session may
// have ended afterwards.
func (l *loop) handOn(id int32, s *slot, from, total int) {
	dst := &s.half[1-from]
	if total == 0 || dst.flags&shut != 0 || s.half[1].flags&atEOF != 0 && from == 0 { // as in pump
		return
	}
	l.count(id, 1-from, total)
	if !dst.seals() {
		l.sendv(id, s, 1-from, l.iov, total)
		return
	}
	k := l.keys.at(dst.tls)
	out, err := l.seal[:0], l.rekey(dst, k, len(l.iov))
	var a cipher.AEAD
	if err == nil {
		a, err = l.aead(dst.tls, true, &k.w.Keys)
	}
	for _, data := range l.iov {
		if err == nil {
			out, err = k.w.Append(out, a, data)
		}
	}
	if err != nil {
		l.end(id, s, lost(1-from), err)
		return
	}
	l.send(id, s, 1-from, out)
}

// sealTo appends data in records under a side's keys.
func (l *loop) sealTo(dst []byte, h *half, data []byte) ([]byte, error) {
	k := l.keys.at(h.tls)
	a, err := l.aead(h.tls, true, &k.w.Keys)
	if err != nil {
		return dst, err
	}
	return k.w.Append(dst, a, data)
}

// rekey sends a KeyUpdate if one is owed, or due before n more records.
func (l *loop) rekey(h *half, k *secured, n int) error {
	if !k.w.Due(n, 0) {
		return nil
	}
	a, err := l.aead(h.tls, true, &k.w.Keys)
	if err != nil {
		return err
	}
	out, err := k.w.AppendKeyUpdate(nil, a, false)
	if err != nil {
		return err
	}
	if h.out != none {
		l.bufs.more(h.out, out)
	} else {
		h.out = l.bufs.keep(out)
	}
	return nil
}

// aead returns the cipher of keys, from the cache or made anew.
func (l *loop) aead(id int32, sealed bool, k *record.Keys) (cipher.AEAD, error) {
	key := aeadKey{id, sealed}
	if a := l.aeads[key]; a != nil && a.updates == k.Updates() {
		a.used = true
		return a.AEAD, nil
	}
	made, err := k.AEAD()
	if err != nil {
		return nil, err
	}
	if len(l.aeads) >= maxAEADs {
		for other := range l.aeads { // any one: the map's order is random
			delete(l.aeads, other)
			break
		}
	}
	l.aeads[key] = &aead{AEAD: made, updates: k.Updates(), used: true}
	return made, nil
}

// send writes to a side, behind what waits there already, and keeps what the
// socket does not take.
func (l *loop) send(id int32, s *slot, side int, p []byte) {
	h := &s.half[side]
	if h.out != none || l.owes(h) {
		if h.out == none {
			h.out = l.bufs.keep(nil)
		}
		l.bufs.more(h.out, p)
		l.flush(id, s, side)
		return
	}
	for len(p) > 0 {
		n, err := write(h.fd, p)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				l.failWrite(id, s, side, err)
				return
			}
			l.full(id, s, side)
			h.out = l.bufs.keep(p)
			return
		}
		l.sealed(h, n)
		p = p[n:]
	}
}

// maxPieces bounds what writev(2) is asked for: copying is cheaper for more, and
// the kernel refuses 1024 (many tiny records make many).
const maxPieces = 128

// sendv is send for pieces.
func (l *loop) sendv(id int32, s *slot, side int, iov [][]byte, total int) {
	h := &s.half[side]
	if len(iov) > maxPieces {
		joined := l.seal[:0] // free: nothing is sealed for a side without TLS
		for _, p := range iov {
			joined = append(joined, p...)
		}
		l.send(id, s, side, joined)
		return
	}
	if h.out == none && !l.owes(h) {
		var n int
		var err error
		if len(iov) == 1 {
			n, err = write(h.fd, iov[0])
		} else {
			n, err = retry(func() (int, error) { return unix.Writev(int(h.fd), iov) })
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			l.failWrite(id, s, side, err)
			return
		}
		l.sealed(h, n)
		if n == total {
			return
		}
		for n = max(n, 0); n > 0; {
			skip := min(n, len(iov[0]))
			iov[0], n = iov[0][skip:], n-skip
			if len(iov[0]) == 0 {
				iov = iov[1:]
			}
		}
	}
	for _, p := range iov {
		if h.out == none {
			h.out = l.bufs.keep(p)
		} else {
			l.bufs.more(h.out, p)
		}
	}
	l.flush(id, s, side)
}

// flush writes what waits for a side; true means that nothing waits any more.
func (l *loop) flush(id int32, s *slot, side int) bool {
	h := &s.half[side]
	if h.flags&shut != 0 { // nobody takes it any more
		h.out = l.bufs.drop(h.out)
		if h.pipe != none {
			l.pipes.discard(h.pipe)
			h.pipe = none
		}
		return true
	}
	if h.pipe != none && !l.flushPipe(id, s, side) {
		return false
	}
	if h.out == none {
		return true
	}
	if h.flags&canWrite == 0 || !l.rekeyKernel(id, s, side) {
		return false
	}
	for p := l.bufs.at(h.out); len(p) > 0; {
		n, err := write(h.fd, p)
		if err != nil {
			if errors.Is(err, unix.EAGAIN) {
				l.full(id, s, side)
				l.bufs.keepOnly(h.out, p)
			} else {
				l.failWrite(id, s, side, err)
			}
			return false
		}
		s.last = l.clock
		l.sealed(h, n)
		p = p[n:]
	}
	h.out = l.bufs.drop(h.out)
	return true
}

// passEOF tells a side that the other has closed, once everything is flushed.
func (l *loop) passEOF(id int32, s *slot, from int) {
	dst := &s.half[1-from]
	if from == 1 && s.errno != 0 { // what it had sent before has been passed on
		l.end(id, s, ServerLost, syscall.Errno(s.errno))
		return
	}
	if dst.flags&shut != 0 {
		return
	}
	if dst.flags&sealing != 0 {
		if !l.closeNotify(id, s, 1-from) {
			return
		}
	} else if dst.tls != none {
		if out, err := l.alert(dst, record.CloseNotify); err == nil {
			gen := s.gen
			l.send(id, s, 1-from, l.withFIN(dst, out))
			if l.sessions.find(id, gen) == nil || dst.out != none {
				return // the event of the socket brings us back; the alert is sealed once
			}
		}
	}
	dst.flags |= shut
	over := s.half[0].flags&s.half[1].flags&(atEOF|shut) == atEOF|shut
	if !over { // or closing does it
		_ = unix.Shutdown(int(dst.fd), unix.SHUT_WR)
	}
	if from == 0 {
		s.note(ClientClosed)
	} else {
		s.note(ServerClosed) // a mail server that closes has nothing more to hear
		s.grace = l.clock + int64(serverGrace)
	}
	if over {
		l.end(id, s, s.why, nil)
	}
}

// alert seals an alert for a side; the keys are gone then.
func (l *loop) alert(h *half, alert record.Alert) ([]byte, error) {
	k := l.keys.at(h.tls)
	a, err := l.aead(h.tls, true, &k.w.Keys)
	if err != nil {
		return nil, err
	}
	return k.w.AppendAlert(nil, a, alert)
}

// lastWord sends an alert as a courtesy: it may not fit, and is not waited for.
func (l *loop) lastWord(h *half, alert record.Alert) {
	if h.flags&sealing != 0 {
		m := alert.Message()
		_ = sendControl(int(h.fd), record.TypeAlert, m[:])
		return
	}
	if out, err := l.alert(h, alert); err == nil && h.out == none {
		_, _ = unix.Write(int(h.fd), out)
	}
}

func (s *slot) note(why End) {
	if !s.noted {
		s.noted, s.why = true, why
	}
}

// failWrite is for a write that failed. A back end that takes nothing more may
// have sent its last words, which its client is to get: only reading ends it.
func (l *loop) failWrite(id int32, s *slot, side int, err error) {
	if side == 0 {
		l.end(id, s, ClientLost, err)
		return
	}
	h := &s.half[1]
	// A reset is told once: to this write, and then what is read ends as if in
	// order. EPIPE means that it had ended in order before.
	if errno := syscall.Errno(0); errors.As(err, &errno) && errno != unix.EPIPE {
		s.errno = uint32(errno)
	}
	h.flags |= shut | canRead | hungUp
	l.flush(id, s, 1) // which drops what waits
	l.queue(id, s)
}

// failRead is for a read that failed, or a record that could not be opened.
// True means that the session goes on for what the client has still to get.
func (l *loop) failRead(id int32, s *slot, side int, err error) bool {
	h := &s.half[side]
	if errno := syscall.Errno(0); side == 1 && errors.As(err, &errno) && !errors.Is(err, errNoRekey) {
		s.errno = uint32(errno)
		h.flags |= atEOF | hungUp
		return true
	}
	var alert *record.AlertError
	if errors.As(err, &alert) && alert.Class != record.Peer && h.tls != none {
		l.lastWord(h, alert.Alert)
	}
	l.end(id, s, lost(side), err)
	return false
}

// unsent tells whether the kernel still has something for the peer: a reset
// would throw it away. He then gets FIN, under TLS without close_notify.
func unsent(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
	return err == nil && n > 0
}

// end closes both connections and hands the account over.
func (l *loop) end(id int32, s *slot, why End, err error) {
	s.note(why)
	reset := err != nil && s.why == why
	for side := range s.half {
		h := &s.half[side]
		// A back end must not hear later what was unsent when somebody wanted the
		// session to end: an ordinary close would deliver it, minutes later perhaps.
		if reset && !(side == 0 && why == ServerLost && unsent(h.fd)) || side == 1 && s.why == Killed {
			_ = unix.SetsockoptLinger(int(h.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		} else if !reset && h.tls != none && h.flags&shut == 0 && h.out == none && h.pipe == none {
			l.lastWord(h, record.CloseNotify)
		}
		_ = unix.Close(int(h.fd))
	}
	res := Result{End: s.why}
	if reset {
		res.Err = err
	}
	account := l.meters.give(s.meter, res)
	l.leave(id, s)
	l.r.finish(account)
}

// leave forgets a session whose descriptors are closed, or another's.
func (l *loop) leave(id int32, s *slot) {
	for side := range s.half {
		h := &s.half[side]
		h.in, h.out = l.bufs.drop(h.in), l.bufs.drop(h.out)
		if h.pipe != none {
			l.pipes.discard(h.pipe)
		}
		if h.tls != none {
			delete(l.aeads, aeadKey{h.tls, true})
			delete(l.aeads, aeadKey{h.tls, false})
			l.keys.give(h.tls)
		}
	}
	l.sessions.give(id)
	l.rested = false // a spare chunk may be left
}
