package main

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"usher.example/balancer/balancertest"
	"usher.example/cluster"
)

// TestMissingVersion restarts a node with a file of which the version that all is sealed
// with was taken out: it shows its certificates of files, and says in its log, by
// its status and by the fleet's which version is missing and what to do.
func TestMissingVersion(t *testing.T) {
	t.Parallel() // the start waits 10 s for its fleet
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	rotate := func(steps ...cluster.RotateStep) {
		t.Helper()
		for _, step := range steps {
			if err := cluster.RotateSecretFile(secret, step); err != nil {
				t.Fatal(err)
			}
		}
	}
	version := func() string {
		t.Helper()
		list, err := cluster.ReadSecrets(secret)
		if err != nil {
			t.Fatal(err)
		}
		return list[0].Print()
	}
	if err := cluster.CreateSecretFile(secret); err != nil {
		t.Fatal(err)
	}
	old := version()
	ca := balancertest.NewAuthority(t)
	file, brought := ca.Server("file.example.org"), ca.Server("mail.example.org")
	_, fileCert, fileKey := ca.Files(file)
	_, crt, key := ca.Files(brought)
	p, at := newPlant(t), freeAddress(t)
	p.mail("mail1", "one")
	p.socket = filepath.Join(dir, "sock")
	p.head = "[fleet]\nname = \"mail\"\nnode = \"u1\"\nvoters = [\"u1\"]\nsecret_file = \"" + secret + "\"\nstate_dir = \"" + p.stateDir +
		"\"\nbind = \"" + freeAddress(t) + "\"\n"
	p.more = "[[listener]]\nname = \"imaps\"\naddress = \"" + at + "\"\nprotocol = \"imap\"\ncertificates = [{ imported = true }, { cert_file = \"" +
		fileCert + "\", key_file = \"" + fileKey + "\" }]\n"
	s := p.serve()
	ask := func(args ...string) string {
		t.Helper()
		out, _, _ := run(t, append(args, "--socket", p.socket)...) // what is not well has a status of its own
		return out
	}
	shown := func(name string) string {
		t.Helper()
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: ca.Pool()})
		if err := c.HandshakeContext(t.Context()); err != nil {
			return err.Error()
		}
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	stop := func() {
		t.Helper()
		s.orders.stop <- syscall.SIGTERM
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	}
	if out := ask("cert", "import", crt, key); !strings.Contains(out, "for mail.example.org") {
		t.Fatalf("got %q", out)
	}
	if got := shown("mail.example.org"); got != string(brought.Certificate[0]) {
		t.Errorf("what was brought is not shown: %q", got)
	}

	rotate(cluster.RotateAdd, cluster.RotatePromote, cluster.RotateDrop) // and no node has had its time
	next := version()
	stop()
	p.log = new(lockedBuffer)
	s = p.serve()
	if got := shown("file.example.org"); got != string(file.Certificate[0]) {
		t.Errorf("the certificate of a file is not shown: %q", got)
	}
	var out string
	await(t, "the status to say what is missing", func() bool {
		out = ask("status", "--json")
		return strings.Contains(out, "cannot be opened")
	})
	for _, want := range []string{"users cannot be placed", old, next, "secret file and restart it"} {
		if !strings.Contains(out, want) {
			t.Errorf("status: no %q in %s", want, out)
		}
	}
	if out := ask("fleet", "status"); !strings.Contains(out, "with "+old+", which this node does not have: 1 value") {
		t.Errorf("fleet status: %s", out)
	}
	for _, want := range []string{`level=ERROR msg="users cannot be placed`, `level=ERROR msg="stored values cannot be opened`} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("no %s in the log", want)
		}
	}
	stop()
}
