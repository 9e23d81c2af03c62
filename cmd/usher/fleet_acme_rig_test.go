package main_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/balancer/certs/pebble"
)

// An acmeFleet is a rig whose nodes obtain certificates from one CA.
type acmeFleet struct {
	*rig
	ca    *pebble.Server
	roots *x509.CertPool // of the CA, which may have ended
	port  int            // at which it looks for answers to HTTP-01
	how   string         // the challenges that may be used
}

// wants has a node's configuration name what is to be obtained, from its next start or
// reload on. The log tells who orders and who answers at level debug.
func (f *acmeFleet) wants(e *edge, names ...string) {
	e.head = "drain = \"20s\"\n" + f.o.head + f.fleetTable(e) + fmt.Sprintf(
		"[log]\nlevel = \"debug\"\n[acme]\nagreed = true\nemail = \"postmaster@example.org\"\nhttp = %q\n"+
			"[[acme.issuer]]\nname = \"pebble\"\ndirectory = %q\nca_file = %q\nchallenges = [%q]\n[[certificate]]\nimported = true\n",
		hostPort(e.host, f.port), f.ca.Directory, f.ca.CAFile, f.how)
	if len(names) > 0 {
		e.head += fmt.Sprintf("[[certificate]]\nnames = [\"%s\"]\n", strings.Join(names, `", "`))
	}
}

// reload gives a node names in operation.
func (f *acmeFleet) reload(e *edge, names ...string) {
	f.t.Helper()
	f.wants(e, names...)
	if line := e.p.reload(f.t, e.site); !strings.Contains(line, `msg="configuration reloaded"`) {
		f.t.Fatalf("%s: %s", e.name, line)
	}
}

// asked counts requests of a kind that came to the CA.
func (f *acmeFleet) asked(path string) int {
	f.t.Helper()
	log, err := os.ReadFile(f.ca.Log)
	if err != nil {
		f.t.Fatal(err)
	}
	return len(regexp.MustCompile(`POST `+regexp.QuoteMeta(path)+` `).FindAll(log, -1))
}

// newOrders and newAccounts are what Pebble calls RFC 8555's newOrder and newAccount.
// They count tries as well: a nonce that is refused would be a second one.
func (f *acmeFleet) newOrders() int   { return f.asked("/order-plz") }
func (f *acmeFleet) newAccounts() int { return f.asked("/sign-me-up") }

// ordered holds what the CA was asked for since its start to what it should be.
func (f *acmeFleet) ordered(when string, orders, certificates int) {
	f.t.Helper()
	accounts := f.newAccounts()
	if o, c := f.newOrders(), f.ca.Orders(); o != orders || c != certificates || accounts != 1 {
		f.t.Errorf("%s: %d orders, %d certificates, %d accounts; want %d, %d, 1", when, o, c, accounts, orders, certificates)
		for _, e := range f.nodes {
			if e.p != nil {
				f.t.Logf("%s: %s", e.name, e.p.log.lines(`certificate not obtained|msg="challenge failed"|could not get certificate`))
			}
		}
	}
}

// shown is the certificate that a node shows to clients of a name, if it is good.
func (e *edge) shown(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots}}
	conn, err := d.DialContext(ctx, "tcp", hostPort(e.host, portIMAPS))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// serve waits until nodes show good certificates of names, the same everywhere, and
// returns them.
func (f *acmeFleet) serve(nodes []*edge, names ...string) map[string]*x509.Certificate {
	f.t.Helper()
	list := make(map[string]*x509.Certificate)
	for _, name := range names {
		for _, e := range nodes {
			var err error
			var c *x509.Certificate
			if !poll(patience, func() bool { c, err = e.shown(name, f.roots); return err == nil }) {
				f.t.Fatalf("%s does not serve %s: %v", e.name, name, err)
			}
			if list[name] == nil {
				list[name] = c
			} else if !list[name].Equal(c) {
				f.t.Errorf("%s: %s serves another one than %s", name, e.name, nodes[0].name)
			}
		}
	}
	return list
}

// does runs a command of an administrator at a node.
func (e *edge) does(args ...string) string {
	e.t.Helper()
	out, err := e.p.command(append(args, "--socket", e.socket())...)
	if err != nil {
		e.t.Fatalf("%s: %v: %v: %s", e.name, args, err, out)
	}
	return out
}

// stop ends all nodes in good order, at once.
func (f *acmeFleet) stop() {
	for _, e := range f.nodes {
		e.p.signal(syscall.SIGTERM)
		e.p.signal(syscall.SIGTERM) // do not wait for sessions
	}
	for _, e := range f.nodes {
		e.p.wait()
	}
}

// at is where a node is for the CA.
func (e *edge) at() netip.Addr { return netip.MustParseAddr(e.host) }

// A trap is where the CA looks for an answer and is kept waiting, so that an order is in
// its middle: it is made, its challenge is with the whole fleet, and it is not proved.
type trap struct {
	net.Listener
	caught chan net.Conn
}

func newTrap(t testing.TB, port int) *trap {
	t.Helper()
	l, err := net.Listen("tcp", hostPort(reserve(t), port))
	if err != nil {
		t.Fatal(err)
	}
	p := &trap{l, make(chan net.Conn, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.caught <- conn
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for len(p.caught) > 0 {
			(<-p.caught).Close()
		}
	})
	return p
}

// await waits for the CA to come.
func (p *trap) await(t testing.TB) net.Conn {
	t.Helper()
	select {
	case conn := <-p.caught:
		return conn
	case <-time.After(patience):
		t.Fatal("the CA does not look for an answer")
		return nil
	}
}

func (p *trap) at() netip.Addr { return netip.MustParseAddrPort(p.Addr().String()).Addr() }
