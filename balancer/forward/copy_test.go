package forward

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher.example/balancer/record"
)

func TestMain(m *testing.M) {
	if runPeer() || benchPeer() {
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
	raw            net.Conn // the client's end below TLS
	keys           *keyLog  // of the client's side
	suite          uint16
	t              *testing.T
}

// clientKeys are the keys that a label of the client's side gives.
func (r *rig) clientKeys(label string) record.Keys { return r.keys.derive(r.t, label, r.suite) }

// side makes a connection: the peer's end and the engine's end of it. With own
// the record layer takes over from crypto/tls after the handshake.
func side(t *testing.T, cert *tls.Certificate, own bool) (peer net.Conn, ours Conn, keys *keyLog) {
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
		keys = new(keyLog)
		ours.TLS = tls.Server(accepted, &tls.Config{
			Certificates: []tls.Certificate{*cert}, KeyLogWriter: keys, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		})
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		ready := make(chan error, 1)
		go func() { ready <- ours.TLS.Handshake() }()
		if err := errors.Join(c.Handshake(), <-ready); err != nil {
			t.Fatal(err)
		}
		peer = c
		if own {
			ours = Conn{Raw: ours.Raw, Secured: keys.secured(t, ours.TLS.ConnectionState().CipherSuite)}
		}
	}
	return peer, ours, keys
}

// A keyLog collects what crypto/tls writes for NSS' format.
type keyLog struct{ lines []string }

func (k *keyLog) Write(p []byte) (int, error) {
	k.lines = append(k.lines, string(p))
	return len(p), nil
}

func (k *keyLog) derive(t testing.TB, label string, suite uint16) record.Keys {
	t.Helper()
	for _, line := range k.lines {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == label {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			keys, err := record.DeriveTLS13(record.Suite(suite), secret)
			if err != nil {
				t.Fatal(err)
			}
			return keys
		}
	}
	t.Fatalf("no %s among %d lines", label, len(k.lines))
	return record.Keys{}
}

// secured derives a server's keys after a handshake without tickets.
func (k *keyLog) secured(t testing.TB, suite uint16) *Secured {
	t.Helper()
	return &Secured{
		Reader: record.NewReader(k.derive(t, "CLIENT_TRAFFIC_SECRET_0", suite), record.Server),
		Writer: record.NewWriter(k.derive(t, "SERVER_TRAFFIC_SECRET_0", suite)),
	}
}

func start(t *testing.T, e Engine, clientTLS, serverTLS bool, toClient, toServer string) *rig {
	t.Helper()
	var ccert, scert *tls.Certificate
	if clientTLS {
		ccert = certificate(t)
	}
	if serverTLS {
		scert = certificate(t)
	}
	r := &rig{done: make(chan Result, 1), t: t}
	var p Pair
	_, own := e.(*Reactor)
	r.client, p.Client, r.keys = side(t, ccert, own)
	r.server, p.Server, _ = side(t, scert, own)
	r.raw = r.client
	if c, ok := r.client.(*tls.Conn); ok {
		r.raw, r.suite = c.NetConn(), c.ConnectionState().CipherSuite
	}
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

func certificate(t testing.TB) *tls.Certificate {
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

// An idler is an engine with an idle limit.
type idler interface {
	Engine
	SetIdle(limit time.Duration)
	Run(ctx context.Context)
}

// layouts are the kinds of sessions, each in each engine.
var layouts = func() (all []layout) {
	for _, e := range []struct {
		name string
		make func(t *testing.T) idler
	}{
		{"copy", func(*testing.T) idler { return new(Copy) }},
		{"loop", func(t *testing.T) idler {
			r, err := NewReactor(Options{Loops: 1, Kernel: testKernel()})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}},
	} {
		for _, l := range []layout{{"plain", nil, false, false}, {"tls client", nil, true, false}, {"tls server", nil, false, true}, {"tls both", nil, true, true}} {
			all = append(all, layout{e.name + ", " + l.name, e.make, l.client, l.server})
		}
	}
	return all
}()

type layout struct {
	name           string
	open           func(t *testing.T) idler
	client, server bool
}

// engine opens and runs the layout's engine.
func (l layout) engine(t *testing.T) idler {
	t.Helper()
	e := l.open(t)
	runCtx(t, e)
	return e
}

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
			r := start(t, l.engine(t), l.client, l.server, "to client;", "to server;")
			got := make(chan []byte, 2)
			go func() { _, _ = r.client.Write(up); _ = r.client.(interface{ CloseWrite() error }).CloseWrite() }()
			go func() { b, _ := io.ReadAll(r.client); got <- b }()
			written := make(chan struct{}) // crypto/tls cuts a Write short that meets a Close
			go func() { defer close(written); _, _ = r.server.Write(down) }()
			atServer, err := io.ReadAll(r.server)
			if err != nil {
				t.Fatal(err)
			}
			<-written
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
			r := start(t, l.engine(t), l.client, l.server, "", "")
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
			r := start(t, l.engine(t), l.client, l.server, "", "")
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
			r := start(t, l.engine(t), l.client, l.server, "", "")
			reset(r.client)
			if res := r.result(t); res.End != ClientLost || res.Err == nil {
				t.Errorf("account %+v", res)
			}
			if _, err := io.ReadAll(r.server); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the back end saw %v", err)
			}
		})
		t.Run(l.name+", server", func(t *testing.T) {
			r := start(t, l.engine(t), l.client, l.server, "", "")
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
	r := start(t, layouts[len(layouts)-3].engine(t), true, false, "", "")
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
			r := start(t, l.engine(t), l.client, l.server, "", "")
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
			e := l.open(t)
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

func runCtx(t *testing.T, e idler) {
	t.Helper()
	done := make(chan struct{})
	ctx := t.Context()
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { <-done })
}

// TestCopyRefusesKeys: a side that was taken apart is nothing for an engine
// without a record layer. It says so instead of moving bytes in clear.
func TestCopyRefusesKeys(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		_, client, _ := side(t, nil, false)
		back, server, _ := side(t, nil, false)
		server.Secured = new(Secured)
		if mixed {
			client.TLS = tls.Server(client.Raw, new(tls.Config))
		}
		done := make(chan Result, 1)
		new(Copy).Adopt(Pair{Client: client, Server: server, ToServer: []byte("secret\r\n"), Done: func(r Result) { done <- r }})
		if r := <-done; r.End != ServerLost || r.Err == nil {
			t.Errorf("mixed %v: got %v, %v", mixed, r.End, r.Err)
		}
		if n, err := back.Read(make([]byte, 100)); n > 0 || err == nil {
			t.Errorf("mixed %v: the back end got %d octets, %v", mixed, n, err)
		}
	}
}
