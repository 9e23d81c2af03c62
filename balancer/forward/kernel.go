package forward

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"usher.example/balancer/record"
)

// A KernelMode says when a [Reactor] lets the kernel do the TLS of a side.
type KernelMode uint8

const (
	// KernelOff never does.
	KernelOff KernelMode = iota
	// KernelAuto does where the kernel can do all that a session may need: in
	// TLS 1.3 it must be able to change keys, as a peer may at any time.
	KernelAuto
	// KernelAlways also does where it cannot: a KeyUpdate of the peer then ends
	// the session.
	KernelAlways
)

// What linux/tls.h calls the socket options and control messages of kernel TLS.
const (
	kernelTX      = 1 // TLS_TX
	kernelRX      = 2 // TLS_RX
	setRecordType = 1 // TLS_SET_RECORD_TYPE
	getRecordType = 2 // TLS_GET_RECORD_TYPE
)

// Kernel is what the kernel can do for TLS, as seen by trying it.
type Kernel struct {
	// Suites are those that it seals and opens as our record layer does.
	Suites []record.Suite
	// Rekey: it can change the keys of a connection (Linux 6.14).
	Rekey bool
	// Err says what stands against any suite, nil if nothing does.
	Err error
}

// attach gives a connection the kernel's TLS, which does nothing until it has
// keys. The connection must be established in both directions.
func attach(fd int) error {
	return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "tls")
}

// setKeys gives a direction its keys: kernelTX or kernelRX. On a connection that
// has some, they are changed.
func setKeys(fd, direction int, k *record.Keys) error {
	info := k.AppendKernel(make([]byte, 0, kernelKeysLen))
	defer clear(info)
	return setOption(fd, unix.SOL_TLS, direction, info)
}

// kernelKeysLen is the largest struct tls12_crypto_info_* of linux/tls.h, that of
// AES-256-GCM: version, cipher, iv, key, salt, sequence number.
const kernelKeysLen = 2 + 2 + 8 + 32 + 4 + 8

// errNoRekey means that a peer has changed its keys and the kernel cannot.
var errNoRekey = errors.New("the kernel cannot change keys")

// kernelFault is the record layer's word for what the kernel says of a record
// that it could not open. Others are returned as they are.
func kernelFault(err error) error {
	switch {
	case errors.Is(err, unix.EBADMSG):
		return &record.AlertError{Alert: record.BadRecordMAC, Class: record.Forged}
	case errors.Is(err, unix.EMSGSIZE):
		return &record.AlertError{Alert: record.RecordOverflow, Class: record.Malformed}
	case errors.Is(err, unix.EINVAL):
		return &record.AlertError{Alert: record.DecodeError, Class: record.Malformed}
	case errors.Is(err, unix.EKEYEXPIRED):
		return fmt.Errorf("%w: %w", errNoRekey, err)
	}
	return err
}

// sendControl sends a record that is not data. EAGAIN means that nothing of it
// was taken.
func sendControl(fd int, typ byte, body []byte) error {
	oob := make([]byte, unix.CmsgSpace(1))
	h := header(oob)
	h.Level, h.Type = unix.SOL_TLS, setRecordType
	h.SetLen(unix.CmsgLen(1))
	oob[unix.CmsgLen(0)] = typ
	_, err := retry(func() (int, error) { return 0, unix.Sendmsg(fd, body, oob, nil, unix.MSG_NOSIGNAL) })
	return err
}

// noRecord is the type of nothing: the stream has ended.
const noRecord byte = 0

// receiveControl receives what is first in a connection's queue: a record of any
// type, of data at most len(buf) octets, or noRecord.
func receiveControl(fd int, buf []byte) (n int, typ byte, err error) {
	oob := make([]byte, unix.CmsgSpace(1))
	var oobn int
	n, err = retry(func() (n int, err error) {
		n, oobn, _, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		return n, err
	})
	if err != nil {
		return 0, 0, err
	}
	if oobn < unix.CmsgLen(1) {
		if n == 0 {
			return 0, noRecord, nil
		}
		return n, record.TypeData, nil
	}
	if h := header(oob); h.Level != unix.SOL_TLS || h.Type != getRecordType {
		return 0, 0, fmt.Errorf("control message %d of level %d from the kernel", h.Type, h.Level)
	}
	return n, oob[unix.CmsgLen(0)], nil
}
