// Package pebble starts Pebble, the test CA of Let's Encrypt's makers, for tests:
// an ACME server that really looks for the answers to its challenges, and a DNS
// server that tells it what the test wants.
//
// It is a test harness and nothing else. Laws: a [Server] touches only processes
// that it started, by their ids; they die with the test, and with the test's
// process; nothing waits without a limit; ports are chosen by the kernel.
//
// A machine without Pebble skips such tests aloud, except where skipping would hide
// a hole: see [Require].
package pebble

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Options say what kind of CA a test wants. The zero value takes any account, looks
// at the ports 5002 (HTTP-01) and 5001 (TLS-ALPN-01) of 127.0.0.1, and makes
// certificates of 90 days.
type Options struct {
	// Prefix comes before the programs, such as "ip netns exec ca" to run them in a
	// network namespace.
	Prefix []string

	// Address is where the CA and its DNS server listen. Zero: 127.0.0.1. In a
	// namespace of its own it is where nodes reach it.
	Address netip.Addr

	// Ports are where the CA listens in turn: its API, its management, its DNS
	// server, and that one's management. Zero: the kernel chooses, in the namespace
	// of the test; who gives a Prefix has to give ports.
	Ports [4]int

	// HTTPPort and TLSPort are where it looks for answers. 0: 5002 and 5001.
	HTTPPort, TLSPort int

	// Hosts are the addresses of names. What is not here has the address Default.
	Hosts map[string][]netip.Addr

	// Default is the address of all other names. Zero: 127.0.0.1.
	Default netip.Addr

	// DNS is the name server that it asks, host:port, of the test's own. Empty: one
	// that knows Hosts and Default.
	DNS string

	// EAB are the external accounts, by key id, with their keys in base64url. If
	// there is one, nobody else gets an account.
	EAB map[string]string

	// Blocked are domains of which it gives no certificates.
	Blocked []string

	// Validity of certificates. 0: 90 days.
	Validity time.Duration

	// BadNonces is the share of good nonces that it refuses, in percent.
	BadNonces int

	// FreshChallenges has it ask for an answer even if a name was proved before.
	FreshChallenges bool
}

// A Server is a running CA.
type Server struct {
	// Directory is the URL to begin with.
	Directory string

	// Pool and CAFile are the authority of the CA's own HTTPS, for tls.Config.RootCAs
	// and as a file in PEM.
	Pool   *x509.CertPool
	CAFile string

	// Log is the file that the CA writes to.
	Log string

	t          testing.TB
	opts       Options
	dir        string
	management string // of the CA
	dns        string // address of the DNS server
	names      string // URL of its management
	procs      []*process
}

const (
	portAPI = iota
	portManagement
	portDNS
	portNames
)

// New starts a CA that ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	Require(t)
	if !o.Address.IsValid() {
		o.Address = netip.MustParseAddr("127.0.0.1")
	}
	if !o.Default.IsValid() {
		o.Default = o.Address
	}
	if o.HTTPPort == 0 {
		o.HTTPPort = 5002
	}
	if o.TLSPort == 0 {
		o.TLSPort = 5001
	}
	if o.Validity == 0 {
		o.Validity = 90 * 24 * time.Hour // the program's own default is five years
	}
	s := &Server{t: t, opts: o, dir: t.TempDir()}
	s.Log = filepath.Join(s.dir, "pebble.log")
	s.writeCertificate()
	t.Cleanup(s.Stop)
	var err error
	for range tries { // somebody else may take a port before we do
		for i := range o.Ports {
			if s.opts.Ports[i] = o.Ports[i]; o.Ports[i] == 0 {
				s.opts.Ports[i] = FreePort(t)
			}
		}
		s.Directory = "https://" + s.at(portAPI) + "/dir"
		s.management = "https://" + s.at(portManagement)
		s.dns = s.at(portDNS)
		s.names = "http://" + s.at(portNames)
		s.writeConfig()
		if err = s.start(); err == nil {
			return s
		}
		s.Stop()
	}
	t.Fatal(err)
	return nil
}

// tries bounds the starts with other ports.
const tries = 3

func (s *Server) at(port int) string {
	return netip.AddrPortFrom(s.opts.Address, uint16(s.opts.Ports[port])).String()
}

// FreePort is a port of 127.0.0.1, for TCP and UDP, that nobody has now.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		p, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		l.Close()
		if err == nil {
			p.Close()
			return port
		}
	}
	t.Fatal("no port is free for TCP and UDP")
	return 0
}

func (s *Server) writeConfig() {
	type config struct {
		ListenAddress                  string            `json:"listenAddress"`
		ManagementListenAddress        string            `json:"managementListenAddress"`
		Certificate                    string            `json:"certificate"`
		PrivateKey                     string            `json:"privateKey"`
		HTTPPort                       int               `json:"httpPort"`
		TLSPort                        int               `json:"tlsPort"`
		ExternalAccountBindingRequired bool              `json:"externalAccountBindingRequired"`
		ExternalAccountMACKeys         map[string]string `json:"externalAccountMACKeys,omitempty"`
		DomainBlocklist                []string          `json:"domainBlocklist,omitempty"`
		CertificateValidityPeriod      uint64            `json:"certificateValidityPeriod,omitempty"`
	}
	data, err := json.Marshal(map[string]config{"pebble": {
		ListenAddress: s.at(portAPI), ManagementListenAddress: s.at(portManagement),
		Certificate: filepath.Join(s.dir, "cert.pem"), PrivateKey: filepath.Join(s.dir, "key.pem"),
		HTTPPort: s.opts.HTTPPort, TLSPort: s.opts.TLSPort,
		ExternalAccountBindingRequired: len(s.opts.EAB) > 0, ExternalAccountMACKeys: s.opts.EAB,
		DomainBlocklist: s.opts.Blocked, CertificateValidityPeriod: uint64(s.opts.Validity.Seconds()),
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("pebble.json", data, 0o644)
}

func (s *Server) write(name string, data []byte, mode os.FileMode) {
	if err := os.WriteFile(filepath.Join(s.dir, name), data, mode); err != nil {
		s.t.Fatal(err)
	}
}

// config is how to speak with the CA.
func (s *Server) config() *tls.Config { return &tls.Config{RootCAs: s.Pool} }
