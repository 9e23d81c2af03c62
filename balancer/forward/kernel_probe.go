package forward

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// probeTime bounds one exchange of the probe over the loopback interface, which
// takes microseconds.
const probeTime = 2 * time.Second

// ProbeKernel tries kernel TLS on connections of its own over the loopback
// interface: with each suite the kernel must open what our record layer seals and
// the other way round, and change keys in the middle. What a kernel's version
// says about that is not asked.
func ProbeKernel() Kernel {
	var k Kernel
	var errs []error
	for _, version := range []uint16{record.TLS13, record.TLS12} {
		for _, suite := range record.Suites(version) {
			rekeyed, err := probeSuite(suite)
			if err != nil {
				errs = append(errs, fmt.Errorf("%#04x: %w", uint16(suite), err))
				if errors.Is(err, unix.ENOENT) && len(k.Suites) == 0 {
					return Kernel{Err: fmt.Errorf("the kernel has no TLS (module tls): %w", err)}
				}
				continue
			}
			k.Suites = append(k.Suites, suite)
			k.Rekey = k.Rekey || rekeyed
		}
	}
	k.Err = errors.Join(errs...)
	return k
}

// probeSuite tries one suite; rekeyed says whether keys could be changed too.
func probeSuite(suite record.Suite) (rekeyed bool, err error) {
	toPeer, fromPeer, err := probeKeys(suite)
	if err != nil {
		return false, err
	}
	ours, peer, err := loopback()
	if err != nil {
		return false, err
	}
	defer ours.Close()
	defer peer.Close()
	fd, err := descriptor(ours)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if err := attach(fd); err != nil {
		return false, err
	}
	if err := errors.Join(setKeys(fd, kernelTX, &toPeer), setKeys(fd, kernelRX, &fromPeer)); err != nil {
		return false, fmt.Errorf("set keys: %w", err)
	}
	p := prober{ours, peer, fd, record.NewReader(toPeer, record.Client), record.NewWriter(fromPeer)}
	if err := p.exchange(); err != nil {
		return false, err
	}
	if p.r.Version() != record.TLS13 {
		return false, nil
	}
	return p.rekey(&toPeer, &fromPeer) == nil, nil
}

// probeKeys makes keys up for both directions.
func probeKeys(suite record.Suite) (a, b record.Keys, err error) {
	var secret [2][48]byte
	for i := range secret {
		_, _ = rand.Read(secret[i][:]) // never fails
	}
	master, random := secret[0][:48], secret[1][:32]
	if a, b, err = record.DeriveTLS12(suite, master, random, random); err == nil {
		return a, b, nil
	}
	for _, size := range []int{32, 48} { // of the suite's hash
		a, err = record.DeriveTLS13(suite, secret[0][:size])
		if err == nil {
			b, err = record.DeriveTLS13(suite, secret[1][:size])
			return a, b, err
		}
	}
	return a, b, err
}

// A prober has a connection under kernel TLS and our own record layer as its peer.
type prober struct {
	ours, peer *net.TCPConn
	fd         int
	r          record.Reader // the peer's
	w          record.Writer
}

// exchange sends a message each way.
func (p *prober) exchange() error {
	msg, got := []byte("usher tries kernel TLS"), make([]byte, 64)
	if _, err := p.ours.Write(msg); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	ev, err := p.receive()
	if err != nil {
		return fmt.Errorf("open what the kernel sealed: %w", err)
	}
	if ev.Kind != record.Data || !bytes.Equal(ev.Data, msg) {
		return errors.New("the kernel has sealed something else")
	}
	a, err := p.w.AEAD()
	if err != nil {
		return err
	}
	rec, err := p.w.Append(nil, a, msg)
	if err != nil {
		return err
	}
	if _, err := p.peer.Write(rec); err != nil {
		return err
	}
	n, err := p.ours.Read(got)
	if err != nil || !bytes.Equal(got[:n], msg) {
		return fmt.Errorf("the kernel has opened something else: %w", errors.Join(err, os.ErrInvalid))
	}
	return nil
}

// receive takes one record as the peer.
func (p *prober) receive() (record.Event, error) {
	buf := make([]byte, record.MaxRecord)
	if _, err := io.ReadFull(p.peer, buf[:record.HeaderLen]); err != nil {
		return record.Event{}, err
	}
	n, _, err := p.r.Parse(buf[:record.HeaderLen])
	if err != nil {
		return record.Event{}, err
	}
	if _, err := io.ReadFull(p.peer, buf[record.HeaderLen:n]); err != nil {
		return record.Event{}, err
	}
	a, err := p.r.AEAD()
	if err != nil {
		return record.Event{}, err
	}
	_, ev, err := p.r.Next(a, buf[:n])
	return ev, err
}

// rekey changes the keys of both directions.
func (p *prober) rekey(toPeer, fromPeer *record.Keys) error {
	m := record.KeyUpdateMessage(false)
	if err := sendControl(p.fd, record.TypeHandshake, m[:]); err != nil {
		return err
	}
	if err := errors.Join(toPeer.Update(), setKeys(p.fd, kernelTX, toPeer)); err != nil {
		return err
	}
	if ev, err := p.receive(); err != nil || ev.Kind != record.Updated {
		return fmt.Errorf("a KeyUpdate came as %v: %w", ev.Kind, errors.Join(err, os.ErrInvalid))
	}
	a, err := p.w.AEAD()
	if err != nil {
		return err
	}
	rec, err := p.w.AppendKeyUpdate(nil, a, false)
	if err != nil {
		return err
	}
	if _, err := p.peer.Write(rec); err != nil {
		return err
	}
	if err := p.control(); err != nil {
		return err
	}
	if err := errors.Join(fromPeer.Update(), setKeys(p.fd, kernelRX, fromPeer)); err != nil {
		return err
	}
	return p.exchange()
}

// control waits for the peer's KeyUpdate.
func (p *prober) control() error {
	raw, err := p.ours.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var typ byte
	buf := make([]byte, record.MaxPlaintext)
	var cerr error
	err = raw.Read(func(fd uintptr) bool {
		n, typ, cerr = receiveControl(int(fd), buf)
		return !errors.Is(cerr, unix.EAGAIN)
	})
	if err = errors.Join(err, cerr); err != nil {
		return err
	}
	if m := record.KeyUpdateMessage(false); typ != record.TypeHandshake || !bytes.Equal(buf[:n], m[:]) {
		return fmt.Errorf("a KeyUpdate came as type %d", typ)
	}
	return nil
}

// loopback returns the two ends of a connection, with a time limit on each.
func loopback() (a, b *net.TCPConn, err error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	deadline := time.Now().Add(probeTime)
	addr, _ := l.Addr().(*net.TCPAddr)
	if a, err = net.DialTCP("tcp", nil, addr); err != nil {
		return nil, nil, err
	}
	_ = l.SetDeadline(deadline)
	for {
		if b, err = l.AcceptTCP(); err != nil {
			_ = a.Close()
			return nil, nil, err
		}
		if b.RemoteAddr().String() == a.LocalAddr().String() {
			break
		}
		_ = b.Close() // a stranger
	}
	_ = a.SetDeadline(deadline)
	_ = b.SetDeadline(deadline)
	return a, b, nil
}

// descriptor returns another descriptor of a connection.
func descriptor(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return none, err
	}
	fd, derr := none, error(nil)
	err = raw.Control(func(s uintptr) { fd, derr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, derr); err != nil {
		return none, err
	}
	return fd, nil
}
