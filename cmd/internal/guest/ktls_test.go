package guest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's own words for TLS sockets (include/uapi/linux/tls.h), which
// x/sys does not have.
const (
	tlsTX            = 1
	tlsRX            = 2
	tlsSetRecordType = 1
	tlsGetRecordType = 2

	version12 = 0x0303
	version13 = 0x0304

	recordHandshake = 22
)

// A cipher is one that the kernel knows: its number, and the sizes of what
// follows version and number in struct tls12_crypto_info_*, in their order.
type cipher struct {
	name                string
	id                  uint16
	iv, key, salt, rseq int
}

var (
	aes128GCM = cipher{"AES-128-GCM", 51, 8, 16, 4, 8}
	aes256GCM = cipher{"AES-256-GCM", 52, 8, 32, 4, 8}
	aes128CCM = cipher{"AES-128-CCM", 53, 8, 16, 4, 8}
	chacha    = cipher{"ChaCha20-Poly1305", 54, 12, 32, 0, 8}
)

// info makes keys up: all octets are the same.
func (c cipher) info(version uint16, secret byte) []byte {
	info := []byte{byte(version), byte(version >> 8), byte(c.id), byte(c.id >> 8)}
	info = append(info, bytes.Repeat([]byte{secret}, c.iv+c.key+c.salt)...)
	return append(info, make([]byte, c.rseq)...)
}

// limit ends a test that hangs.
const limit = 30 * time.Second

// A pair is the two ends of a TCP connection over the loopback interface.
type pair struct{ client, server *net.TCPConn }

func newPair(t *testing.T) pair {
	t.Helper()
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for _, conn := range []*net.TCPConn{client, server} {
		if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
	}
	return pair{client, server}
}

// control calls f with a connection's descriptor.
func control(t *testing.T, conn *net.TCPConn, f func(fd int) error) error {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return result
}

// probe asks the kernel for TLS on a connection.
func probe(t *testing.T, conn *net.TCPConn) error {
	t.Helper()
	return control(t, conn, func(fd int) error {
		return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "tls")
	})
}

func setKey(t *testing.T, conn *net.TCPConn, direction int, info []byte) error {
	t.Helper()
	return control(t, conn, func(fd int) error {
		return unix.SetsockoptString(fd, unix.SOL_TLS, direction, string(info))
	})
}

// newTLSPair gives both ends kernel TLS with the same keys in both directions.
func newTLSPair(t *testing.T, version uint16, c cipher) pair {
	t.Helper()
	p := newPair(t)
	for _, conn := range []*net.TCPConn{p.client, p.server} {
		if err := probe(t, conn); err != nil {
			t.Fatalf("ask for TLS: %v", err)
		}
		for _, direction := range []int{tlsTX, tlsRX} {
			if err := setKey(t, conn, direction, c.info(version, 1)); err != nil {
				t.Fatalf("set keys of direction %d: %v", direction, err)
			}
		}
	}
	return p
}

// exchange sends data one way and wants the same at the other end.
func exchange(t *testing.T, from io.Writer, to io.Reader) {
	t.Helper()
	data := bytes.Repeat([]byte("all that is gold does not glitter\n"), 3000) // 100 KB: several records
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	_, err := io.ReadFull(to, got)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Error("what arrived is not what was sent")
	}
}

// TestKernelTLS runs on this machine and again in each guest.
func TestKernelTLS(t *testing.T) {
	err := probe(t, newPair(t).client)
	if errors.Is(err, unix.ENOENT) && os.Getenv(insideVar) == "" {
		t.Logf("this machine's kernel has no TLS: %v", err)
		return
	}
	if err != nil {
		t.Fatalf("ask for TLS: %v", err)
	}
	for _, version := range []uint16{version12, version13} {
		for _, c := range []cipher{aes128GCM, aes256GCM, aes128CCM, chacha} {
			t.Run(fmt.Sprintf("%#x/%s", version, c.name), func(t *testing.T) {
				p := newTLSPair(t, version, c)
				exchange(t, p.client, p.server)
				exchange(t, p.server, p.client)
			})
		}
	}
}

// TestRecords shows that it is TLS that goes over the wire: an end without keys
// sees records.
func TestRecords(t *testing.T) {
	requireInside(t)
	p := newPair(t)
	if err := probe(t, p.client); err != nil {
		t.Fatalf("ask for TLS: %v", err)
	}
	if err := setKey(t, p.client, tlsTX, aes128GCM.info(version13, 1)); err != nil {
		t.Fatalf("set keys: %v", err)
	}
	if _, err := p.client.Write([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5+5+1+16) // header, data, type, tag
	if _, err := io.ReadFull(p.server, got); err != nil {
		t.Fatal(err)
	}
	if want := []byte{23, 3, 3, 0, 22}; !bytes.HasPrefix(got, want) || bytes.Contains(got, []byte("plain")) {
		t.Errorf("got %x on the wire, want a record that starts with %x", got, want)
	}
}

// TestRekey changes keys in the way of TLS 1.3 (RFC 8446 §4.6.3), where the
// kernel can, and shows what it says where it cannot.
func TestRekey(t *testing.T) {
	requireInside(t)
	p := newTLSPair(t, version13, aes128GCM)
	exchange(t, p.client, p.server)
	next := aes128GCM.info(version13, 2)
	if os.Getenv(rekeyVar) == "" {
		if err := setKey(t, p.client, tlsTX, next); !errors.Is(err, unix.EBUSY) {
			t.Errorf("new keys: got %v, want %v", err, unix.EBUSY)
		}
		return
	}

	update := []byte{24, 0, 0, 1, 0}
	sendRecord(t, p.client, recordHandshake, update)
	if err := setKey(t, p.client, tlsTX, next); err != nil {
		t.Fatalf("new keys for sending: %v", err)
	}
	if kind, got := receiveRecord(t, p.server); kind != recordHandshake || !bytes.Equal(got, update) {
		t.Fatalf("got a record of type %d, %x; want %d, %x", kind, got, recordHandshake, update)
	}
	if _, err := p.server.Read(make([]byte, 1)); !errors.Is(err, unix.EKEYEXPIRED) {
		t.Errorf("read before new keys: got %v, want %v", err, unix.EKEYEXPIRED)
	}
	if err := setKey(t, p.server, tlsRX, next); err != nil {
		t.Fatalf("new keys for receiving: %v", err)
	}
	exchange(t, p.client, p.server)
	exchange(t, p.server, p.client) // with the old ones
}

// sendRecord sends a record that is not application data.
func sendRecord(t *testing.T, conn *net.TCPConn, kind byte, body []byte) {
	t.Helper()
	oob := make([]byte, unix.CmsgSpace(1))
	header := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0])) //nolint:gosec // how x/sys itself does it
	header.Level, header.Type = unix.SOL_TLS, tlsSetRecordType
	header.SetLen(unix.CmsgLen(1))
	oob[unix.CmsgLen(0)] = kind
	err := control(t, conn, func(fd int) error { return unix.Sendmsg(fd, body, oob, nil, 0) })
	if err != nil {
		t.Fatalf("send a record of type %d: %v", kind, err)
	}
}

func receiveRecord(t *testing.T, conn *net.TCPConn) (kind byte, body []byte) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	body, oob := make([]byte, 1<<14), make([]byte, unix.CmsgSpace(1))
	var n, oobn int
	var received error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, received = unix.Recvmsg(int(fd), body, oob, 0)
		return !errors.Is(received, syscall.EAGAIN)
	})
	if err := errors.Join(err, received); err != nil {
		t.Fatalf("receive a record: %v", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) != 1 || messages[0].Header.Type != tlsGetRecordType {
		t.Fatalf("got control messages %v, want one with the record's type", messages)
	}
	return messages[0].Data[0], body[:n]
}
