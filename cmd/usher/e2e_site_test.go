package main_test

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// Ports of every node.
const (
	portIMAP  = 2143
	portIMAPS = 2993
	portPOP3  = 2110
	portPOP3S = 2995
	portHTTP  = 2180
	portExtra = 2144 // for a listener of the test's own
)

// serverName is what the node's certificate is for, beside its address.
const serverName = "mail.example.org"

// A site is a configuration of usher, to be changed by a test before serve, or
// before reload.
type site struct {
	t         testing.TB
	host      string // address of the node's own
	dir       string
	authority *dovecot.Authority

	within    []string // a command that runs usher in a place of its own
	agent     string   // address of HAProxy's agent-check; empty: none
	journal   bool     // usher is to think that journald reads its log
	head      string   // keys and tables ahead of all others
	listeners []listener
	pools     []pool
}

// A listener is a [[listener]].
type listener struct {
	name, protocol, tls string
	port                int
	host                string // empty: the site's
	more                string // further keys
}

// A pool is a [[pool]] with its back ends.
type pool struct {
	name, storage string
	more          string // further keys
	health        string // keys of [pool.health]
	backends      []backend
}

// A backend is a [[pool.backend]].
type backend struct {
	name       string
	host       string
	imap, pop3 string // host:port, of which the port counts
	more       string
}

// quickHealth makes probes frequent, so that a test need not wait for them.
const quickHealth = "interval = \"500ms\"\ntimeout = \"500ms\"\nrise = 1\nfall = 2\n"

// calmHealth keeps probes from deciding anything on a busy machine.
const calmHealth = "interval = \"10s\"\nfast_interval = \"10s\"\ntimeout = \"10s\"\nrise = 1\nfall = 5\n"

// newSite returns the site of a certificate and the four usual listeners, with
// one pool of the servers. Links to them are those of a good site: STARTTLS with
// verified certificates, PROXY version 2.
func newSite(t testing.TB, storage string, servers ...*dovecot.Server) *site {
	t.Helper()
	s := &site{t: t, host: reserve(t), dir: t.TempDir(), head: "drain = \"20s\"\n"}
	if path := os.Getenv("USHER_E2E_PATH"); path != "" { // the suite over another data path
		s.head += fmt.Sprintf("data_path = %q\n", path) // behind it: tests know the line of drain
	}
	s.listeners = []listener{
		{name: "imaps", protocol: "imap", tls: "implicit", port: portIMAPS},
		{name: "imap", protocol: "imap", tls: "starttls", port: portIMAP},
		{name: "pop3s", protocol: "pop3", tls: "implicit", port: portPOP3S},
		{name: "pop3", protocol: "pop3", tls: "starttls", port: portPOP3},
	}
	s.authority = servers[0].Authority
	p := pool{
		name: "main", storage: storage, health: calmHealth,
		more: fmt.Sprintf("tls_ca_file = %q\nclient_address = \"proxy2\"\n", s.authority.File),
	}
	for i, srv := range servers {
		p.backends = append(p.backends, proxied("mail"+strconv.Itoa(i+1), srv))
	}
	s.pools = []pool{p}
	s.renew()
	return s
}

// proxied is a back end by its ports that want a PROXY header.
func proxied(name string, srv *dovecot.Server) backend {
	return backend{name: name, host: srv.Address.String(), imap: srv.ProxyIMAP, pop3: srv.ProxyPOP3}
}

// renew puts a new certificate into the site's files. Its common name is the
// address, since offlineimap looks for addresses nowhere else.
func (s *site) renew() {
	s.t.Helper()
	cert, key := s.authority.WriteFiles(s.t, s.authority.Server(s.t, s.host, serverName))
	for from, to := range map[string]string{cert: s.file("cert.pem"), key: s.file("key.pem")} {
		text, err := os.ReadFile(from)
		if err != nil {
			s.t.Fatal(err)
		}
		s.put(to, string(text))
	}
}

// put writes a file as a careful administrator does: in one step.
func (s *site) put(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

// socket is the admin socket.
func (s *site) socket() string { return s.file("admin.sock") }

// write writes the configuration and returns its path.
func (s *site) write() string {
	s.t.Helper()
	path := s.file("usher.toml")
	s.put(path, s.toml())
	return path
}

// toml is the configuration's text.
func (s *site) toml() string {
	var b strings.Builder
	if !strings.Contains(s.head, "withdraw") {
		b.WriteString("withdraw = \"0s\"\n") // nobody looks who has to notice
	}
	b.WriteString(s.head)
	if !strings.Contains(s.head, "[fleet]") {
		fmt.Fprintf(&b, "[fleet]\nstate_dir = %q\nkick_delay = %q\n", s.file("state"), kickDelay)
	}
	fmt.Fprintf(&b, "[admin]\nsocket = %q\nhttp = %q\nagent = %q\n", s.socket(), hostPort(s.host, portHTTP), s.agent)
	fmt.Fprintf(&b, "[[certificate]]\ncert_file = %q\nkey_file = %q\n", s.file("cert.pem"), s.file("key.pem"))
	for _, l := range s.listeners {
		fmt.Fprintf(&b, "[[listener]]\nname = %q\naddress = %q\nprotocol = %q\ntls = %q\n%s",
			l.name, hostPort(cmp.Or(l.host, s.host), l.port), l.protocol, l.tls, l.more)
	}
	for _, p := range s.pools {
		fmt.Fprintf(&b, "[[pool]]\nname = %q\nstorage = %q\n%s[pool.health]\n%s", p.name, p.storage, p.more, p.health)
		for _, be := range p.backends {
			fmt.Fprintf(&b, "[[pool.backend]]\nname = %q\nhost = %q\nimap_port = %s\npop3_port = %s\n%s",
				be.name, be.host, port(be.imap), port(be.pop3), be.more)
		}
	}
	return b.String()
}

// clientTLS is how a client trusts the node, and shows certificates to it.
func (s *site) clientTLS(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: s.authority.Pool, ServerName: serverName, Certificates: certs}
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// port is the port of host:port.
func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "0"
	}
	return p
}
