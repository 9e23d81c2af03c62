package forward

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// What the loop does for a side whose records the kernel opens and seals: all
// that is not data.

// entrust gives a side's TLS to the kernel and says for which directions that
// worked. What did not stays with our record layer: a connection whose TLS has no
// keys yet passes octets through.
func (r *Reactor) entrust(fd int, sec *Secured) uint16 {
	switch {
	case sec == nil || r.mode == KernelOff:
		return 0
	case !slices.Contains(r.kernel.Suites, sec.Reader.Suite()):
		r.fallbacks.count(NoSuite)
		return 0
	case !r.kernel.Rekey && (r.mode != KernelAlways && sec.Reader.Version() == record.TLS13 || sec.Writer.Due(ahead, 0)):
		r.fallbacks.count(NoRekey)
		return 0
	case len(sec.Ciphertext) > 0 || sec.Closed:
		// The kernel wants to begin with a whole record.
		r.fallbacks.count(AmidRecord)
		return 0
	}
	if attach(fd) != nil {
		r.fallbacks.count(Refused)
		return 0
	}
	if setKeys(fd, kernelTX, &sec.Writer.Keys) != nil {
		r.fallbacks.count(Refused)
		return 0
	}
	if setKeys(fd, kernelRX, &sec.Reader.Keys) != nil {
		r.fallbacks.count(Refused)
		return sealing
	}
	return opening | sealing
}

// passed notes that data came that our record layer has not seen. It fails if that
// must not come now.
func (l *loop) passed(h *half) error {
	if h.flags&opening == 0 {
		return nil
	}
	return l.keys.at(h.tls).r.Moved()
}

// partRecords is how many records that are not full the kernel may make of one call:
// spliced, it ends a record after some 17 pieces of pages, and a pipe has at most 256.
const partRecords = 256/16 + 1

// sealed counts the records that the kernel makes of n octets, rather too many than
// too few.
func (l *loop) sealed(h *half, n int) {
	if h.flags&sealing != 0 && n > 0 {
		k := l.keys.at(h.tls)
		k.w.SetSeq(k.w.Seq() + uint64(n)/record.MaxPlaintext + partRecords)
	}
}

// fault is what an error of a socket means.
func (h *half) fault(err error) error {
	if h.flags&opening != 0 {
		return kernelFault(err)
	}
	return err
}

// control takes what stands at the head of a queue that gave no data: why says how
// that was told. It is a record of another kind, the end of the stream, or a
// record without any data, which is gone by now.
func (l *loop) control(id int32, s *slot, from int, why error) (int, error) {
	src := &s.half[from]
	switch {
	case errors.Is(why, unix.EAGAIN):
		src.flags &^= canRead
		return 0, nil
	case why != nil && !errors.Is(why, unix.EINVAL) && !errors.Is(why, unix.EIO):
		return 0, kernelFault(why)
	}
	k := l.keys.at(src.tls)
	if why == nil && !hasEnded(src.fd) {
		// A record without data: spliced, it looks like the end. recvmsg(2) would
		// go on over all that follow, for as long as a flood of them lasts, and
		// could not tell us how many they were.
		_, err := k.r.Handle(record.TypeData, nil)
		return 1, err
	}
	n, typ, err := receiveControl(int(src.fd), l.open[:record.MaxPlaintext])
	switch {
	case errors.Is(err, unix.EAGAIN) && why != nil:
		return 0, kernelFault(unix.EINVAL) // a header that is none, and the kernel has given up
	case errors.Is(err, unix.EAGAIN):
		_, err = k.r.Handle(record.TypeData, nil)
		return 1, err
	case err != nil:
		return 0, kernelFault(err)
	case n == 0 && typ == noRecord:
		src.flags |= atEOF
		return 0, nil
	}
	ev, err := k.r.Handle(typ, l.open[:n])
	if err != nil {
		return 0, err
	}
	switch ev.Kind {
	case record.Data: // it came while we looked
		l.iov = append(l.iov[:0], ev.Data)
		l.handOn(id, s, from, n)
		return 1, nil
	case record.Closed:
		src.flags |= atEOF
	case record.Updated:
		if ev.Answer {
			k.w.Owe()
		}
		if err := setKeys(int(src.fd), kernelRX, &k.r.Keys); err != nil {
			return 1, fmt.Errorf("%w: %w", errNoRekey, err)
		}
	case record.None, record.Ticket:
	}
	return 1, nil
}

// hasEnded tells whether a connection's peer has sent FIN or was lost, so that what
// is left to be read is finite. Its event may still be on the way.
func hasEnded(fd int32) bool {
	p := []unix.PollFd{{Fd: fd, Events: unix.POLLRDHUP}}
	_, err := retry(func() (int, error) { return unix.Poll(p, 0) })
	return err != nil || p[0].Revents != 0
}

// ahead is how many records a turn may make of what the kernel seals; new keys
// are due that much before the limit.
const ahead = 2 * (bulkPipe/record.MaxPlaintext + partRecords)

// owes tells whether a KeyUpdate has to go ahead of data that the kernel seals, or
// no data may go any more: rekeyKernel knows what to do.
func (l *loop) owes(h *half) bool {
	if h.flags&sealing == 0 {
		return false
	}
	k := l.keys.at(h.tls)
	return l.r.kernel.Rekey && k.w.Due(ahead, 0) || k.w.Ready(ahead) != nil
}

// rekeyKernel is called before data goes to a side, and sends a KeyUpdate ahead of
// it if there has to be one. False means that nothing may be sent now, or that the
// session has ended.
func (l *loop) rekeyKernel(id int32, s *slot, side int) bool {
	h := &s.half[side]
	if h.flags&sealing == 0 {
		return true
	}
	k := l.keys.at(h.tls)
	if l.r.kernel.Rekey && k.w.Due(ahead, 0) {
		m := record.KeyUpdateMessage(false)
		err := sendControl(int(h.fd), record.TypeHandshake, m[:])
		if errors.Is(err, unix.EAGAIN) {
			l.full(id, s, side)
			return false
		}
		if err == nil {
			err = k.w.Rekey()
		}
		if err == nil {
			err = setKeys(int(h.fd), kernelTX, &k.w.Keys)
		}
		if err != nil {
			l.end(id, s, lost(side), fmt.Errorf("change keys: %w", err))
			return false
		}
	}
	if err := k.w.Ready(ahead); err != nil && k.w.Suite() != 0 { // it may be closed
		l.end(id, s, lost(side), err)
		return false
	}
	return true
}

// closeNotify says that nothing more will come. False means that the socket is
// full, and its event brings us back, or that the session has ended.
func (l *loop) closeNotify(id int32, s *slot, side int) bool {
	h := &s.half[side]
	m := record.CloseNotify.Message()
	err := sendControl(int(h.fd), record.TypeAlert, m[:])
	switch {
	case errors.Is(err, unix.EAGAIN):
		l.full(id, s, side)
		return false
	case err != nil && side == 0:
		l.end(id, s, ClientLost, err)
		return false
	}
	return true // a back end that cannot be told is found by reading
}
