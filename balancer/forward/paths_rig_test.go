package forward_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
	_ "unsafe" // for linkname

	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// patience bounds what a test waits for; nothing waits that long when it works.
const patience = 20 * time.Second

// defaultTLS13 and its like are the suites of TLS 1.3 that crypto/tls offers,
// which no configuration changes. Only with them can all three be tested.
//
//go:linkname defaultTLS13 crypto/tls.defaultCipherSuitesTLS13
var defaultTLS13 []uint16

//go:linkname defaultTLS13NoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var defaultTLS13NoAES []uint16

// identities are certificates of "peer" with a key of each kind, and who signed
// them.
var identities = sync.OnceValue(func() (id struct {
	certs []tls.Certificate
	pool  *x509.CertPool
},
) {
	id.pool = x509.NewCertPool()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	for _, key := range []crypto.Signer{ec, rs} {
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(1), DNSNames: []string{"peer"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		if err != nil {
			panic(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		id.pool.AddCert(leaf)
		id.certs = append(id.certs, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf})
	}
	return id
})

// A layout says which sides of a session are under TLS.
type layout struct {
	name           string
	client, server bool
}

var layouts = []layout{{"client", true, false}, {"server", false, true}, {"both", true, true}}

// A scene is what sessions are made of. The zero value is TLS 1.3 with what
// crypto/tls likes best.
type scene struct {
	version uint16
	suite   record.Suite
	group   tls.CurveID
}

// A stage makes sessions of one scene. Later ones can resume earlier ones.
type stage struct {
	p      *path
	scene  scene
	ours   [2]*handshake.Config // as a server to clients, as a client to back ends
	theirs [2]*tls.Config       // of clients and back ends
}

func newStage(t *testing.T, p *path, s scene) *stage {
	t.Helper()
	if s.version == 0 {
		s.version = record.TLS13
	}
	if s.version == record.TLS13 && s.suite != 0 {
		a, b := defaultTLS13, defaultTLS13NoAES
		defaultTLS13, defaultTLS13NoAES = []uint16{uint16(s.suite)}, []uint16{uint16(s.suite)}
		t.Cleanup(func() { defaultTLS13, defaultTLS13NoAES = a, b })
	}
	cfg := &tls.Config{MinVersion: s.version, MaxVersion: s.version, ServerName: "peer", RootCAs: identities().pool}
	if s.suite != 0 {
		cfg.CipherSuites = []uint16{uint16(s.suite)}
	}
	if s.group != 0 {
		cfg.CurvePreferences = []tls.CurveID{s.group}
	}
	client, server := cfg, cfg.Clone()
	server.Certificates = identities().certs
	theirs := client.Clone()
	client.ClientSessionCache, theirs.ClientSessionCache = tls.NewLRUClientSessionCache(2), tls.NewLRUClientSessionCache(2)
	o := handshake.Options{Copy: !p.Secures()}
	return &stage{
		p: p, scene: s,
		ours:   [2]*handshake.Config{handshake.Prepare(server, o), handshake.Prepare(client, o)},
		theirs: [2]*tls.Config{theirs, server},
	}
}

// A setup is how one session is made.
type setup struct {
	layout
	records bool // peers under TLS are wires
	resumed bool
	small   bool // the sockets' buffers are small
	// greeting is what the back end says before the adoption and the engine's
	// owner reads, as it does in a login.
	greeting           string
	toClient, toServer string
	// before is called between handshake and adoption with the engine's own end
	// of a side, 0 the client's. The side may be in plaintext.
	before func(side int, ours *handshake.Conn, p *peer)
	// paths that are allowed beside the stage's.
	also string
}

// dial makes a TCP connection and returns both ends.
func dial(tb testing.TB) (ours, theirs *net.TCPConn) {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		tb.Fatal(err)
	}
	if ours, err = l.AcceptTCP(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	for _, c := range []*net.TCPConn{ours, theirs} {
		_ = c.SetDeadline(time.Now().Add(patience))
	}
	return ours, theirs
}

// open makes a session and has the engine adopt it.
func (st *stage) open(t *testing.T, o setup) *session {
	t.Helper()
	var h halves
	h.peer[0], h.ours[0], h.ahead[0] = st.side(t, 0, o.client, o)
	h.peer[1], h.ours[1], h.ahead[1] = st.side(t, 1, o.server, o)
	return st.adopt(t, o, h)
}

// halves are both sides of a session, 0 the client's: the peer, the engine's
// end, and what was opened of it.
type halves struct {
	peer  [2]*peer
	ours  [2]forward.Conn
	ahead [2][]byte
}

func (st *stage) adopt(t *testing.T, o setup, h halves) *session {
	t.Helper()
	s := &session{
		t: t, path: st.p.name, also: o.also, client: h.peer[0], server: h.peer[1],
		done: make(chan forward.Result, 1), stat: statsOfKernel(t),
	}
	for _, c := range h.ours {
		if c.TLS != nil || c.Secured != nil {
			s.secure++
		}
	}
	s.flow = st.p.Adopt(forward.Pair{
		Client: h.ours[0], Server: h.ours[1],
		ToClient: append([]byte(o.toClient), h.ahead[1]...), ToServer: append([]byte(o.toServer), h.ahead[0]...),
		Done: func(r forward.Result) { s.done <- r },
	})
	s.went("Flow", s.flow.Path())
	t.Cleanup(func() {
		if !s.over {
			s.flow.Kill()
			s.end()
		}
	})
	return s
}

// side makes a side of a session: the peer, the engine's end, and what was
// opened of it.
func (st *stage) side(t *testing.T, n int, secure bool, o setup) (p *peer, ours forward.Conn, ahead []byte) {
	t.Helper()
	mine, raw := dial(t)
	if o.small {
		for _, c := range []*net.TCPConn{mine, raw} {
			_, _ = c.SetReadBuffer(32<<10), c.SetWriteBuffer(32<<10)
		}
	}
	p, ours = &peer{Conn: raw, raw: raw}, forward.Conn{Raw: mine}
	var c *handshake.Conn
	if secure {
		c = st.shake(t, n, mine, p, o)
	}
	if n == 1 && o.greeting != "" {
		from := io.Reader(mine)
		if c != nil {
			from = c
		}
		got := make([]byte, len(o.greeting))
		_, werr := io.WriteString(p, o.greeting)
		if _, err := io.ReadFull(from, got); err != nil || werr != nil || string(got) != o.greeting {
			t.Fatalf("greeting %q, %v, %v", got, werr, err)
		}
	}
	if o.before != nil {
		o.before(n, c, p)
	}
	if c == nil {
		return p, ours, nil
	}
	ours, ahead = st.detach(t, c)
	return p, ours, ahead
}

// detach takes TLS over, as the engine's owner does.
func (st *stage) detach(t *testing.T, c *handshake.Conn) (ours forward.Conn, ahead []byte) {
	t.Helper()
	state, ok := c.Detach()
	if ok != st.p.Secures() {
		t.Fatalf("detached %v: %v", ok, c.Reason())
	}
	if !ok {
		return forward.Conn{Raw: c.Raw(), TLS: c.TLS()}, nil
	}
	return forward.Conn{Raw: state.Raw, Secured: &forward.Secured{
		Reader: state.Reader, Writer: state.Writer, Ciphertext: state.Sealed, Closed: state.Closed,
	}}, state.Plain
}

// shake does both parts of a handshake and puts the peer's TLS over p.
func (st *stage) shake(t *testing.T, n int, mine *net.TCPConn, p *peer, o setup) *handshake.Conn {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- st.shakePeer(t, n, p, o) }()
	do := []func() (*handshake.Conn, error){
		func() (*handshake.Conn, error) { return handshake.Server(t.Context(), mine, st.ours[0]) },
		func() (*handshake.Conn, error) { return handshake.Client(t.Context(), mine, st.ours[1]) },
	}
	c, err := do[n]()
	if err != nil {
		_ = mine.Close() // the peer may still wait
	}
	if err := errors.Join(err, <-done); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	st.check(t, c.ConnectionState(), o.resumed)
	return c
}

// check holds a handshake to the scene.
func (st *stage) check(t *testing.T, got tls.ConnectionState, resumed bool) {
	t.Helper()
	if got.DidResume != resumed || st.scene.suite != 0 && got.CipherSuite != uint16(st.scene.suite) ||
		got.Version != st.scene.version || st.scene.group != 0 && got.CurveID != st.scene.group {
		t.Fatalf("resumed %v, %s, %s, %s, which is not the scene's %+v", got.DidResume, tls.VersionName(got.Version),
			tls.CipherSuiteName(got.CipherSuite), got.CurveID, st.scene)
	}
}

func (st *stage) shakePeer(t *testing.T, n int, p *peer, o setup) error {
	if !o.records {
		c := tls.Client(p.raw, st.theirs[0])
		if n == 1 {
			c = tls.Server(p.raw, st.theirs[1])
		}
		p.Conn = c
		return c.HandshakeContext(t.Context())
	}
	do := handshake.Client
	if n == 1 {
		do = handshake.Server
	}
	c, err := do(t.Context(), p.raw, handshake.Prepare(st.theirs[n], handshake.Options{}))
	if err != nil {
		return err
	}
	state, ok := c.Detach()
	if !ok {
		return errors.New("the peer's keys are not to be had")
	}
	p.Conn = newWire(t, state)
	return nil
}
