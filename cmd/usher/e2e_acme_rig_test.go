package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/certs/pebble"
	"usher.example/cmd/internal/dovecot"
)

// Ports at which a CA finds answers.
const (
	portACME = 2181
	portALPN = 2443
)

// An automatic node obtains its certificates at a CA.
type automatic struct {
	*site
	ca    *pebble.Server
	roots *x509.CertPool // of the CA; nil until it was asked
	names []string       // that are obtained
	keys  []string       // kinds
	p     *proc
}

// newServer starts one Dovecot.
func newServer(t testing.TB) *dovecot.Server {
	t.Helper()
	return dovecot.Start(t, dovecot.Options{Name: "one", Storage: dovecot.NewStorage(t), Authority: dovecot.NewAuthority(t), RequireTLS: true})
}

// newAutomatic makes a node and its CA, which finds the node at all names. The
// node has a certificate in files beside those that it obtains.
func newAutomatic(t testing.TB, srv *dovecot.Server, o pebble.Options, names ...string) *automatic {
	t.Helper()
	if _, err := program(); err != nil { // before any time is taken
		t.Fatal(err)
	}
	a := &automatic{site: newSite(t, "shared", srv), names: names, keys: []string{"ecdsa"}}
	o.Default, o.HTTPPort, o.FreshChallenges = netip.MustParseAddr(a.host), portACME, true
	a.ca = pebble.New(t, o)
	a.roots = a.ca.Roots()
	return a
}

// asks has the configuration name the CA, or another one, and the way to prove names.
func (a *automatic) asks(directory, caFile, challenge, more string) {
	a.head = fmt.Sprintf("drain = \"1s\"\n[log]\nlevel = \"debug\"\n[acme]\nagreed = true\nemail = \"postmaster@example.net\"\n"+
		"http = %q\ntls_alpn = %q\nkeys = [\"%s\"]\n%s[[acme.issuer]]\nname = \"pebble\"\ndirectory = %q\nca_file = %q\nchallenges = [%q]\n"+
		"[[certificate]]\nnames = [\"%s\"]\n",
		hostPort(a.host, portACME), hostPort(a.host, portALPN), strings.Join(a.keys, `", "`), more, directory, caFile, challenge, strings.Join(a.names, `", "`))
}

// trust is how a client trusts the node's name, which the CA has vouched for.
func (a *automatic) trust(name string) *tls.Config {
	return &tls.Config{RootCAs: a.roots, ServerName: host(name)}
}

// old is the same for a client that knows RSA alone.
func (a *automatic) old(name string) *tls.Config {
	return &tls.Config{
		RootCAs: a.roots, ServerName: host(name), MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	}
}

// host is a name that a certificate is for.
func host(name string) string { return strings.Replace(name, "*", "imap", 1) }

// shows is the certificate that a door shows who trusts so: one handshake.
func (a *automatic) shows(door string, trust *tls.Config) (*x509.Certificate, error) {
	c := a.enter(door, entry{tls: trust})
	defer c.Close()
	if c.err != nil {
		return nil, c.err
	}
	return c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// awaits waits until the log says that all is obtained.
func (a *automatic) awaits(t testing.TB) {
	t.Helper()
	a.p.log.await(t, `level=INFO msg="certificate obtained".* name=.* issuer=.* serial=.* expires=`, len(a.names)*len(a.keys))
}

// shown is what all doors show for all names and kinds of keys, by the name and the
// kind. Nothing is waited for.
func (a *automatic) shown(t testing.TB) map[string]*x509.Certificate {
	t.Helper()
	all := map[string]*x509.Certificate{}
	for _, name := range a.names {
		for _, kind := range a.keys {
			trust := a.trust(name)
			if kind == "rsa" {
				trust = a.old(name)
			}
			for _, door := range doors {
				leaf, err := a.shows(door, trust)
				if err != nil {
					t.Fatalf("%s at %s: %v", name, door, err)
				}
				if first := all[name+" "+kind]; first != nil && !first.Equal(leaf) {
					t.Errorf("%s: %s shows another certificate than %s", name, door, doors[0])
				}
				all[name+" "+kind] = leaf
			}
			if leaf := all[name+" "+kind]; !strings.EqualFold(leaf.PublicKeyAlgorithm.String(), kind) {
				t.Errorf("%s: got a key of %v, want %s", name, leaf.PublicKeyAlgorithm, kind)
			}
		}
	}
	return all
}

// usher runs a command at the node's admin socket.
func (a *automatic) usher(args ...string) (string, error) {
	return a.p.command(append(args, "--socket", a.socket())...)
}

// must is a command that has to succeed.
func (a *automatic) must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := a.usher(args...)
	if err != nil {
		t.Fatalf("usher %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// obtained are those in usher cert list.
func (a *automatic) obtained(t testing.TB) []admin.Certificate {
	t.Helper()
	var list admin.CertificateList
	if err := json.Unmarshal([]byte(a.must(t, "cert", "list", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	var obtained []admin.Certificate
	for _, c := range list.Certificates {
		if c.Source == "acme" {
			obtained = append(obtained, c)
		}
	}
	return obtained
}

// stop ends the node in good order, and its sessions.
func (a *automatic) stop() { (&edge{p: a.p}).stop() }

// accounted wants certificates to be in the list and in the metrics, with their end,
// and the node to be ready.
func (a *automatic) accounted(t testing.TB, want map[string]*x509.Certificate) {
	t.Helper()
	list := a.obtained(t)
	if len(list) != len(want) {
		t.Errorf("%d certificates are listed, want %d: %+v", len(list), len(want), list)
	}
	text := a.must(t, "cert", "list")
	for what, leaf := range want {
		name, _, _ := strings.Cut(what, " ")
		found := false
		for _, c := range list {
			found = found || c.Serial == leaf.SerialNumber.Text(16) && c.NotAfter.Equal(leaf.NotAfter) && len(c.Listeners) == len(doors) && c.Problem == ""
		}
		if !found {
			t.Errorf("%s, serial %x, is not in the list: %+v", what, leaf.SerialNumber, list)
		}
		var row strings.Builder
		for line := range strings.Lines(text) {
			if strings.Contains(line, name) {
				row.WriteString(line)
			}
		}
		if !strings.Contains(row.String(), leaf.NotAfter.UTC().Format(time.DateOnly)) || !strings.Contains(row.String(), " acme ") {
			t.Errorf("%s: usher cert list says %q", what, row.String())
		}
	}
	for _, name := range a.names { // which have the end of the kind that ends last or first
		for _, door := range doors {
			if sum := a.p.metric(t, "usher_cert_not_after_timestamp_seconds", `name="`+name+`"`, `listener="`+door+`"`); !a.ends(name, sum, want) {
				t.Errorf("metrics: the end of %s at %s is %v", name, door, sum)
			}
		}
	}
	a.ready(t)
}

// ready wants the node to be ready, with nothing wrong. One that has just begun is
// isolated for a moment, until it has elected itself.
func (a *automatic) ready(t testing.TB) {
	t.Helper()
	eventually(t, "/readyz is as it should be", func() bool {
		status, body := a.p.ask("/readyz")
		return status == http.StatusOK && body == "ready\n"
	})
}

// ends says whether a metric is the sum of the ends of a name's certificates.
func (a *automatic) ends(name string, sum float64, want map[string]*x509.Certificate) bool {
	var all int64
	for _, kind := range a.keys {
		all += want[name+" "+kind].NotAfter.Unix()
	}
	return int64(sum) == all
}
