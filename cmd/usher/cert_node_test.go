package main

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/balancer/balancertest"
)

// TestImportedCertificate brings a certificate to a real node by the command, shakes
// hands with it, restarts the node, exports it and takes it out again.
func TestImportedCertificate(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "mail1")
	socket := filepath.Join(t.TempDir(), "usher.sock")
	p.socket = socket
	p.more = "[[listener]]\nname = \"imaps\"\naddress = \"127.0.0.2:0\"\nprotocol = \"imap\"\ncertificates = [{ imported = true }]\n"
	p.start()

	ca := balancertest.NewAuthority(t)
	cert := ca.Server("mail.example.org")
	_, crt, key := ca.Files(cert)
	shown := func() string {
		conn, err := net.Dial("tcp", p.node.server.Addr("imaps").String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := tls.Client(conn, &tls.Config{ServerName: "mail.example.org", RootCAs: ca.Pool()})
		if err := c.HandshakeContext(t.Context()); err != nil {
			return err.Error()
		}
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	ask := func(args ...string) string {
		t.Helper()
		out, status, err := run(t, append(args, "--socket", socket)...)
		if status != 0 {
			t.Fatalf("%v: %d, %v", args, status, err)
		}
		return out
	}
	if got := shown(); got == string(cert.Certificate[0]) {
		t.Fatal("it is there before it was brought")
	}
	if out := ask("cert", "import", crt, key); !strings.Contains(out, "for mail.example.org") || strings.Contains(out, "no listener") {
		t.Errorf("got %q", out)
	}
	if got := shown(); got != string(cert.Certificate[0]) {
		t.Errorf("got %q", got)
	}
	if out := ask("cert", "list"); !strings.Contains(out, "imported") || !strings.Contains(out, "imaps") {
		t.Errorf("got %q", out)
	}
	ask("cert", "renew", "mail.example.org") // is read again

	p.node.stop(expired())
	p.web.close()
	p.start()
	await(t, "the imported certificate after a restart", func() bool { return shown() == string(cert.Certificate[0]) })

	dir := t.TempDir()
	ask("cert", "export", "mail.example.org", "--out", dir)
	if pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "mail.example.org.pem"), filepath.Join(dir, "mail.example.org.key")); err != nil || string(pair.Certificate[0]) != string(cert.Certificate[0]) {
		t.Errorf("what was exported is not what was imported: %v", err)
	}
	ask("cert", "remove", "--yes", "mail.example.org")
	if got := shown(); got == string(cert.Certificate[0]) {
		t.Error("it is shown after it was removed")
	}

	sealed(t, p, filepath.Join(dir, "mail.example.org.key"), "imported/mail.example.org")
}

// sealed looks for a key in all that a node has written, in the form in which it is
// stored. What is stored beside it in clear has to be found.
func sealed(t *testing.T, p *plant, keyFile, beside string) {
	t.Helper()
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	secrets := []string{string(block.Bytes[len(block.Bytes)/3:])}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line)
		}
	}
	found := false
	err = filepath.WalkDir(p.stateDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || strings.Contains(string(content), beside)
		for _, s := range secrets {
			if strings.Contains(string(content), s) {
				t.Errorf("%s has the key in clear", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		t.Errorf("%q is nowhere in the state directory: this looks at the wrong place", beside)
	}
	for _, s := range secrets {
		if strings.Contains(p.log.String(), s) {
			t.Error("the log has the key")
		}
	}
}
