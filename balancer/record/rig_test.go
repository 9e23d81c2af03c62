package record_test

import (
	"crypto"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
	_ "unsafe" // for linkname

	"usher.example/balancer/record"
)

// defaultTLS13 and its like are the suites of TLS 1.3 that crypto/tls offers,
// which no configuration changes. Only with them can all three be tested.
//
//go:linkname defaultTLS13 crypto/tls.defaultCipherSuitesTLS13
var defaultTLS13 []uint16

//go:linkname defaultTLS13NoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var defaultTLS13NoAES []uint16

// A combo is what a session can be made of.
type combo struct {
	version uint16
	suite   record.Suite
}

func (c combo) String() string {
	return strings.ReplaceAll(fmt.Sprintf("%s %s", tls.VersionName(c.version), tls.CipherSuiteName(uint16(c.suite))), " ", "-")
}

// combos are all there are.
func combos() []combo {
	var all []combo
	for _, v := range []uint16{record.TLS13, record.TLS12} {
		for _, s := range record.Suites(v) {
			all = append(all, combo{v, s})
		}
	}
	return all
}

// certificates are one of either kind, made once.
var certificates = sync.OnceValue(func() []tls.Certificate {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	var all []tls.Certificate
	for _, key := range []crypto.Signer{ec, rs} {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"peer"}, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		if err != nil {
			panic(err)
		}
		all = append(all, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	}
	return all
})

// A session is one whose handshake crypto/tls has done on both ends. A test
// takes either end's place: it has the keys, and the lines to write to.
type session struct {
	combo
	client, server             *tls.Conn
	toServer, toClient         *line
	clientWrites, serverWrites record.Keys
}

// as returns what a test needs to be in role, opposite to a crypto/tls peer.
func (s *session) as(role record.Role) (tx, rx record.Keys, out, in *line, peer *tls.Conn) {
	if role == record.Client {
		return s.clientWrites, s.serverWrites, s.toServer, s.toClient, s.server
	}
	return s.serverWrites, s.clientWrites, s.toClient, s.toServer, s.client
}

var handshaking sync.Mutex // guards defaultTLS13, defaultTLS13NoAES

// establish has crypto/tls shake hands with itself.
func establish(tb testing.TB, c combo, tickets bool) *session {
	tb.Helper()
	handshaking.Lock()
	defer handshaking.Unlock()
	defer func(a, b []uint16) { defaultTLS13, defaultTLS13NoAES = a, b }(defaultTLS13, defaultTLS13NoAES)
	if c.version == record.TLS13 {
		defaultTLS13 = []uint16{uint16(c.suite)}
		defaultTLS13NoAES = defaultTLS13
	}
	s := &session{combo: c, toServer: newLine(), toClient: newLine()}
	var secrets strings.Builder
	config := &tls.Config{
		Certificates: certificates(), ServerName: "peer", InsecureSkipVerify: true,
		MinVersion: c.version, MaxVersion: c.version, CipherSuites: []uint16{uint16(c.suite)},
		CurvePreferences: []tls.CurveID{tls.X25519}, SessionTicketsDisabled: !tickets,
	}
	logging := config.Clone()
	logging.KeyLogWriter = &secrets
	if tickets {
		logging.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	s.client = tls.Client(end{s.toClient, s.toServer}, logging)
	s.server = tls.Server(end{s.toServer, s.toClient}, config)
	served := make(chan error, 1)
	go func() { served <- s.server.Handshake() }()
	err := s.client.Handshake()
	s.toServer.end()
	if err := errors.Join(err, <-served); err != nil {
		tb.Fatalf("handshake: %v", err)
	}
	for _, l := range []*line{s.toServer, s.toClient} {
		l.patient, l.ended = false, false
	}
	if got := record.Suite(s.client.ConnectionState().CipherSuite); got != c.suite {
		tb.Fatalf("negotiated %#x, want %#x", got, c.suite)
	}
	s.keys(tb, secrets.String())
	return s
}

// keys derives both directions from the key log (and the ServerHello).
func (s *session) keys(tb testing.TB, log string) {
	tb.Helper()
	secrets := map[string][][]byte{}
	for l := range strings.Lines(log) {
		f := strings.Fields(l)
		for _, x := range f[1:] {
			b, err := hex.DecodeString(x)
			if err != nil {
				tb.Fatal(err)
			}
			secrets[f[0]] = append(secrets[f[0]], b)
		}
	}
	var err error
	if s.version == record.TLS13 {
		var err2 error
		s.clientWrites, err = record.DeriveTLS13(s.suite, secrets["CLIENT_TRAFFIC_SECRET_0"][1])
		s.serverWrites, err2 = record.DeriveTLS13(s.suite, secrets["SERVER_TRAFFIC_SECRET_0"][1])
		err = errors.Join(err, err2)
	} else {
		const random = record.HeaderLen + 4 + 2 // record, message, version
		m := secrets["CLIENT_RANDOM"]
		s.clientWrites, s.serverWrites, err = record.DeriveTLS12(s.suite, m[1], m[0], s.toClient.log[random:random+32])
	}
	if err != nil {
		tb.Fatalf("derive: %v", err)
	}
}

// aead builds an AEAD, or ends the test.
func aead(tb testing.TB, k *record.Keys) cipher.AEAD {
	tb.Helper()
	a, err := k.AEAD()
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// pair returns a Writer and the Reader, in role, of what it writes, with fresh
// keys.
func pair(tb testing.TB, c combo, role record.Role) (record.Writer, record.Reader) {
	tb.Helper()
	k := fresh(tb, c)
	return record.NewWriter(k), record.NewReader(k, role)
}

// fresh makes keys of random secrets.
func fresh(tb testing.TB, c combo) record.Keys {
	tb.Helper()
	b := make([]byte, 48)
	_, _ = rand.Read(b)
	if c.version == record.TLS12 {
		k, _, err := record.DeriveTLS12(c.suite, b, make([]byte, 32), make([]byte, 32))
		if err != nil {
			tb.Fatal(err)
		}
		return k
	}
	for _, n := range []int{32, 48} {
		if k, err := record.DeriveTLS13(c.suite, b[:n]); err == nil {
			return k
		}
	}
	tb.Fatalf("no keys for %v", c)
	return record.Keys{}
}
