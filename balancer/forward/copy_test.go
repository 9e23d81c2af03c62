package forward

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if runPeer() {
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what a test waits for; nothing waits that long when it works.
const patience = 10 * time.Second

// A rig is a session in an engine with both peers at hand.
type rig struct {
	client, server net.Conn // the peers' ends
	flow           Flow
	done           chan Result
}

// side makes a connection: the peer's end and the engine's end of it.
func side(t *testing.T, cert *tls.Certificate) (peer net.Conn, ours Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours.Raw, peer = accepted.(*net.TCPConn), raw
	t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(patience))
	if cert != nil {
		ours.TLS = tls.Server(accepted, &tls.Config{Certificates: []tls.Certificate{*cert}})
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		ready := make(chan error, 1)
		go func() { ready <- ours.TLS.Handshake() }()
		if err := errors.Join(c.Handshake(), <-ready); err != nil {
			t.Fatal(err)
		}
		peer = c
	}
	return peer, ours
}

func start(t *testing.T, e *Copy, clientTLS, serverTLS bool, toClient, toServer string) *rig {
	t.Helper()
	var ccert, scert *tls.Certificate
	if clientTLS {
		ccert = certificate(t)
	}
	if serverTLS {
		scert = certificate(t)
	}
	r := &rig{done: make(chan Result, 1)}
	var p Pair
	r.client, p.Client = side(t, ccert)
	r.server, p.Server = side(t, scert)
	p.ToClient, p.ToServer = []byte(toClient), []byte(toServer)
	p.Done = func(res Result) { r.done <- res }
	r.flow = e.Adopt(p)
	return r
}

func (r *rig) result(t *testing.T) Result {
	t.Helper()
	select {
	case res := <-r.done:
		return res
	case <-time.After(patience):
		t.Fatal("the session does not end")
		return Result{}
	}
}

func certificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var layouts = []struct {
	name           string
	client, server bool
}{{"plain", false, false}, {"tls client", true, false}, {"tls server", false, true}, {"tls both", true, true}}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func TestBytesArriveWholeAndPendingFirst(t *testing.T) {
	const size = 8 << 20
	up, down := make([]byte, size), make([]byte, size)
	_, _ = rand.Read(up)
	_, _ = rand.Read(down)
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			r := start(t, new(Copy), l.client, l.server, "to client;", "to server;")
			got := make(chan []byte, 2)
			go func() { _, _ = r.client.Write(up); _ = r.client.(interface{ CloseWrite() error }).CloseWrite() }()
			go func() { b, _ := io.ReadAll(r.client); got <- b }()
			go func() { _, _ = r.server.Write(down) }()
			atServer, err := io.ReadAll(r.server)
			if err != nil {
				t.Fatal(err)
			}
			if sum(atServer) != sum(append([]byte("to server;"), up...)) {
				t.Errorf("the back end got %d octets, not the %d sent", len(atServer), size+10)
			}
			_ = r.server.Close()
			if atClient := <-got; sum(atClient) != sum(append([]byte("to client;"), down...)) {
				t.Errorf("the client got %d octets, not the %d sent", len(atClient), size+10)
			}
			res := r.result(t)
			if res.In != size+10 || res.Out != size+10 || res.End != ClientClosed || res.Err != nil {
				t.Errorf("account %+v, want %d octets each way, ended by the client", res, size+10)
			}
			if in, out := r.flow.Bytes(); in != size+10 || out != size+10 {
				t.Errorf("Bytes() = %d, %d after the end", in, out)
			}
		})
	}
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }

// A client that has said all it has to say still gets its answer.
func TestHalfCloseOfClientIsKept(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			r := start(t, new(Copy), l.client, l.server, "", "")
			_, _ = io.WriteString(r.client, "a LOGOUT\r\n")
			closeWrite(t, r.client)
			if b, err := io.ReadAll(r.server); err != nil || string(b) != "a LOGOUT\r\n" {
				t.Fatalf("the back end got %q, %v", b, err)
			}
			_, _ = io.WriteString(r.server, "* BYE\r\na OK\r\n")
			_ = r.server.Close()
			if b, err := io.ReadAll(r.client); err != nil || string(b) != "* BYE\r\na OK\r\n" {
				t.Errorf("the client got %q, %v", b, err)
			}
			if res := r.result(t); res.End != ClientClosed {
				t.Errorf("ended by %v", res.End)
			}
		})
	}
}

func TestServersCloseEndsTheSessionWithinASecond(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			r := start(t, new(Copy), l.client, l.server, "", "")
			_, _ = io.WriteString(r.server, "* BYE\r\n")
			begin := time.Now()
			_ = r.server.Close()
			res := r.result(t) // the client's end stays open
			if took := time.Since(begin); took > time.Second {
				t.Errorf("took %v", took)
			}
			if res.End != ServerClosed || res.Err != nil {
				t.Errorf("account %+v", res)
			}
			if b, err := io.ReadAll(r.client); err != nil || string(b) != "* BYE\r\n" {
				t.Errorf("the client got %q, %v", b, err)
			}
		})
	}
}

func reset(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func TestResetOfOneSideResetsTheOther(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name+", client", func(t *testing.T) {
			r := start(t, new(Copy), l.client, l.server, "", "")
			reset(r.client)
			if res := r.result(t); res.End != ClientLost || res.Err == nil {
				t.Errorf("account %+v", res)
			}
			if _, err := io.ReadAll(r.server); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the back end saw %v", err)
			}
		})
		t.Run(l.name+", server", func(t *testing.T) {
			r := start(t, new(Copy), l.client, l.server, "", "")
			reset(r.server)
			if res := r.result(t); res.End != ServerLost || res.Err == nil {
				t.Errorf("account %+v", res)
			}
			if _, err := io.ReadAll(r.client); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client saw %v", err)
			}
		})
	}
}

// A slow client gets the whole of an answer whose sender has closed long ago.
func TestSlowClientLosesNothing(t *testing.T) {
	r := start(t, new(Copy), true, false, "", "")
	answer := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	go func() { _, _ = r.server.Write(answer); _ = r.server.Close() }()
	first := make([]byte, 1)
	if _, err := io.ReadFull(r.client, first); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r.client)
	if err != nil || len(rest)+1 != len(answer) {
		t.Errorf("got %d of %d octets, %v", len(rest)+1, len(answer), err)
	}
	r.result(t)
}

func TestKill(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			r := start(t, new(Copy), l.client, l.server, "", "")
			r.flow.Kill()
			if res := r.result(t); res.End != Killed {
				t.Errorf("ended by %v", res.End)
			}
			r.flow.Kill() // again, after the end
			if d := r.flow.IdleFor(); d != 0 {
				t.Errorf("idle for %v after the end", d)
			}
		})
	}
}

// A client that neither reads nor closes must not outlive the idle limit, nor
// may one that is busy in one direction only be ended by it.
func TestIdleLimit(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			e := new(Copy)
			e.SetIdle(400 * time.Millisecond)
			busy, quiet := start(t, e, l.client, l.server, "", ""), start(t, e, l.client, l.server, "", "")
			stop := make(chan struct{})
			talked := make(chan struct{})
			go func() {
				defer close(talked)
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						_, _ = io.WriteString(busy.server, "* OK still here\r\n")
					}
				}
			}()
			runCtx(t, e)
			if res := quiet.result(t); res.End != Idle {
				t.Errorf("the quiet session ended by %v", res.End)
			}
			select {
			case res := <-busy.done:
				t.Errorf("the busy session was ended: %+v", res)
			default:
			}
			close(stop)
			<-talked
			busy.flow.Kill()
			busy.result(t)
		})
	}
}

func runCtx(t *testing.T, e *Copy) {
	t.Helper()
	done := make(chan struct{})
	ctx := t.Context()
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { <-done })
}
