package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher.example/balancer/certs/pebble"
)

// What operators are promised of certificates in a fleet.
const (
	joinServes   = 3 * time.Second // a new node, after it has joined
	importServes = 3 * time.Second // all other nodes, after an import
	renewServes  = 5 * time.Second // all nodes, after a renewal
)

// TestFleetCertificates has a fleet of three, each node in a network namespace of its
// own, obtain, renew and import certificates, and a fourth node join. All that the
// nodes send to each other is heard, and all that they write is read at the end.
func TestFleetCertificates(t *testing.T) {
	t.Parallel()
	require(t, "bash")
	pebble.Require(t)
	if !inNetwork(t) {
		return
	}
	homes := networksOf(t, 4)
	w := listen(t)
	f := &acmeRows{t: t, homes: homes, keys: new(sought), acmeFleet: &acmeFleet{
		rig: newRig(t, rigOptions{servers: 1, homes: homes, address: inMail(t)}), port: 80, how: "http-01",
		ca: pebble.New(t, pebble.Options{Address: netip.MustParseAddr("10.77.0.1"), HTTPPort: 80, TLSPort: portIMAPS, FreshChallenges: true}),
	}}
	f.roots = f.ca.Roots()
	f.add("edge-4")
	f.keys.anyKey()

	f.tenAtOnce()
	f.byAnother("http-01", "by-http.example.org")
	f.byStranger("tls-alpn-01", "by-alpn.example.org")
	f.renewed(f.names[3])
	f.imported("imported.example.org")
	f.ca.Stop()
	f.joined()
	f.allRestarted()

	f.stop() // with a last snapshot
	d := newDecoy(t)
	w.judge(f.keys, d, homes)
	octets := 0
	for _, e := range f.nodes {
		found, read := f.keys.onDisk(t, e.state(), f.names[0])
		for path, what := range found {
			t.Errorf("%s has in clear: %v", path, what)
		}
		octets += read
		for what, n := range f.keys.in([]byte(e.p.log.String())) {
			t.Errorf("the log of %s has %s, %d times", e.name, what, n)
		}
	}
	t.Logf("%d octets of %d keys in state directories hold none in clear", octets, f.noted)
	f.blind(d)
}

// acmeRows are what the test shows, in their order.
type acmeRows struct {
	*acmeFleet
	t        *testing.T
	homes    []netHome
	names    []string // that are obtained
	shownNow map[string]*x509.Certificate
	keys     *sought
	noted    int            // keys in it
	alien    *x509.CertPool // that the imported one is by
}

// voters are the first three nodes.
func (f *acmeRows) voters() []*edge { return f.nodes[:3] }

// note remembers the key of a name, which is to be found nowhere.
func (f *acmeRows) note(names ...string) {
	f.t.Helper()
	for _, name := range names {
		f.keys.key(f.t, "the key of "+name, f.nodes[2].exported(name))
		f.noted++
	}
}

// tenAtOnce starts three nodes that want the same ten names. The CA comes for each name
// to one node, so it sleeps until all of them answer: of a node that is not up yet it
// would say that the name is not proved.
func (f *acmeRows) tenAtOnce() {
	f.t.Helper()
	for i := range 10 {
		f.names = append(f.names, fmt.Sprintf("box%d.example.org", i))
		f.ca.Resolve(f.names[i], f.nodes[i%3].at())
	}
	f.ca.Freeze()
	began := time.Now()
	for _, e := range f.voters() {
		f.wants(e, f.names...)
		e.begin()
	}
	for _, e := range f.voters() {
		e.ready()
		e.p.log.await(f.t, `says="acquiring lock" identifier=box`, 1)
	}
	ready := time.Now()
	f.ca.Thaw()
	f.shownNow = f.serve(f.voters(), f.names...)
	f.t.Logf("ten names at once: three nodes serve all %v after the last was ready and the CA awake, %v after their start", since(ready), since(began))
	f.ordered("ten names at once", 10, 10)
	made, sum := map[string]int{}, 0
	for _, e := range f.voters() {
		made[e.name] = len(e.p.log.lines(`msg="certificate obtained" name=box`))
		sum += made[e.name]
	}
	if f.t.Logf("obtained by %v", made); sum != 10 {
		f.t.Errorf("obtained by %v, want 10 together", made)
	}
	f.note(f.names...)
}

// byAnother has the first node order, while the CA reaches the third one only.
func (f *acmeRows) byAnother(how, name string) {
	f.t.Helper()
	first := f.nodes[0]
	f.how = how
	orders := f.newOrders()
	f.ca.Resolve(name, f.nodes[2].at())
	f.names = append(f.names, name)
	began := time.Now()
	f.ca.Freeze() // so that the first node has the order when the others hear of the name
	f.reload(first, f.names...)
	first.p.log.await(f.t, `says="lock acquired" identifier=`+name, 1)
	for _, e := range f.nodes[1:3] {
		f.reload(e, f.names...)
	}
	f.ca.Thaw()
	thawed := time.Now()
	f.shownNow[name] = f.serve(f.voters(), name)[name]
	f.t.Logf("%s: all serve %v after the CA woke up, %v after the first reload", how, since(thawed), since(began))
	f.answered(how, name, orders+1)
}

// byStranger is byAnother at a time when the others do not have the name, nor the kind
// of challenge.
func (f *acmeRows) byStranger(how, name string) {
	f.t.Helper()
	f.how = how
	orders := f.newOrders()
	f.ca.Resolve(name, f.nodes[2].at())
	f.names = append(f.names, name)
	began := time.Now()
	f.reload(f.nodes[0], f.names...)
	f.serve(f.nodes[:1], name)
	took := since(began)
	for _, e := range f.nodes[1:3] {
		f.reload(e, f.names...)
	}
	f.shownNow[name] = f.serve(f.voters(), name)[name]
	f.t.Logf("%s: node 1 serves %v after its reload, all after %v", how, took, since(began))
	f.answered(how, name, orders+1)
}

// answered wants the order to have been the first node's, and the answer the third's.
func (f *acmeRows) answered(how, name string, orders int) {
	f.t.Helper()
	first, third := f.nodes[0], f.nodes[2]
	first.p.log.await(f.t, `msg="certificate obtained" name=`+name, 1)
	third.p.log.await(f.t, `msg="a challenge is answered" challenge=`+how+` name=`+name, 1)
	for _, e := range f.voters() {
		for what, by := range map[string]*edge{"certificate obtained": first, "a challenge is answered": third} {
			if n := len(e.p.log.lines(`msg="` + what + `".* name=` + name)); e != by && n > 0 {
				f.t.Errorf("%s: %s says %q", name, e.name, what)
			}
		}
	}
	f.ordered(how, orders, orders)
	f.note(name)
}

// renewed has the second node renew a certificate of which the first has a session.
func (f *acmeRows) renewed(name string) {
	f.t.Helper()
	orders := f.newOrders()
	session := enter(f.t, f.nodes[0].site, "imaps", entry{tls: &tls.Config{ServerName: name, RootCAs: f.roots}})
	if verdict := session.login("joe", "secret"); !good(verdict) {
		f.t.Fatalf("%s %v", verdict, session.err)
	}
	old := f.shownNow[name]
	if shown := session.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0]; !shown.Equal(old) {
		f.t.Error("the session has another certificate than others")
	}
	began := time.Now()
	f.nodes[1].does("cert", "renew", name, "--force")
	told := since(began)
	for _, e := range f.voters() {
		eventually(f.t, e.name+" serves the new one", func() bool {
			c, err := e.shown(name, f.roots)
			return err == nil && c.SerialNumber.Cmp(old.SerialNumber) != 0
		})
	}
	took := since(began)
	f.t.Logf("renewed: the command says so after %v, all serve the new one after %v", told, took)
	if took > renewServes {
		f.t.Errorf("the renewal took %v, want %v", took, renewServes)
	}
	f.shownNow[name] = f.serve(f.voters(), name)[name]
	if !session.works() {
		f.t.Errorf("the session from before ended: %v", session.err)
	}
	f.ordered("renewed", orders+1, orders+1)
	f.note(name)
}

// imported brings a certificate to the first node.
func (f *acmeRows) imported(name string) {
	f.t.Helper()
	a := f.nodes[0].authority
	f.alien = a.Pool
	cert := a.Server(f.t, name)
	crt, key := a.WriteFiles(f.t, cert)
	want, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range f.voters() {
		if _, err := e.shown(name, f.alien); err == nil {
			f.t.Errorf("%s serves %s before it was brought", e.name, name)
		}
	}
	began := time.Now()
	f.nodes[0].does("cert", "import", crt, key)
	told := since(began)
	for _, e := range f.nodes[1:3] {
		eventually(f.t, e.name+" serves what was imported", func() bool {
			c, err := e.shown(name, f.alien)
			return err == nil && c.Equal(want)
		})
	}
	took := since(began)
	f.t.Logf("imported: the command says so after %v, the others serve it after %v", told, took)
	if took > importServes {
		f.t.Errorf("the import took %v, want %v", took, importServes)
	}
	f.note(name)
	f.shownNow[name] = want
}

// joined has a fourth node, which does not vote, join when there is no CA.
func (f *acmeRows) joined() {
	f.t.Helper()
	e := f.nodes[3]
	f.wants(e, f.names...)
	began := time.Now()
	e.begin()
	e.ready()
	ready := time.Now()
	f.allAt(e)
	took := since(ready)
	f.t.Logf("a fourth node: ready %v after its start, serves all %d names %v later", ready.Sub(began).Round(time.Millisecond), len(f.shownNow), took)
	if took > joinServes {
		f.t.Errorf("the fourth node serves all after %v, want %v", took, joinServes)
	}
	f.noOrder(e)
}

// allAt wants a node to show all that is shown, as the others do.
func (f *acmeRows) allAt(e *edge) {
	f.t.Helper()
	for name, want := range f.shownNow {
		roots := f.roots
		if !slices.Contains(f.names, name) {
			roots = f.alien
		}
		var err error
		var c *x509.Certificate
		if !poll(patience, func() bool { c, err = e.shown(name, roots); return err == nil }) {
			f.t.Fatalf("%s does not serve %s: %v", e.name, name, err)
		}
		if !c.Equal(want) {
			f.t.Errorf("%s serves another certificate of %s", e.name, name)
		}
	}
}

// noOrder wants a node not to have tried.
func (f *acmeRows) noOrder(e *edge) {
	f.t.Helper()
	if lines := e.p.log.lines(`says="(acquiring lock|obtaining certificate)"|certificate not obtained`); len(lines) > 0 {
		f.t.Errorf("%s: %s", e.name, lines)
	}
}

// allRestarted kills all nodes at once, and starts them. There still is no CA.
func (f *acmeRows) allRestarted() {
	f.t.Helper()
	for _, e := range f.nodes {
		e.p.signal(syscall.SIGKILL)
	}
	for _, e := range f.nodes {
		e.kill()
	}
	began := time.Now()
	for _, e := range f.nodes {
		e.begin()
	}
	for _, e := range f.nodes {
		e.ready()
	}
	ready := since(began)
	var wg sync.WaitGroup
	for _, e := range f.nodes {
		wg.Go(func() { f.allAt(e) })
	}
	wg.Wait()
	f.t.Logf("all killed and started: ready after %v, all names at all nodes after %v", ready, since(began))
	for _, e := range f.nodes {
		f.noOrder(e)
	}
}

// blind shows that a key in any file of a node would be found.
func (f *acmeRows) blind(d *decoy) {
	f.t.Helper()
	dir := f.nodes[0].state()
	for i, form := range d.forms {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("decoy-", i)), form, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	if found, _ := d.onDisk(f.t, dir, f.names[0]); len(found) != len(d.forms) {
		f.t.Fatalf("of %d forms of the decoy on disk only %v are found", len(d.forms), found)
	}
}
