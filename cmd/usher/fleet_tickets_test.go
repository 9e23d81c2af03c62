package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"usher.example/cluster"
	"usher.example/cmd/internal/dovecot"
)

// A visitor is a client that keeps the session of his first visit, whichever node that
// was, and comes with it again and again.
type visitor struct {
	name  string
	visit func(t testing.TB, s *site, door string) (resumed bool, err error)
}

// versions of TLS, and what OpenSSL calls them.
var versions = map[uint16]string{tls.VersionTLS12: "-tls1_2", tls.VersionTLS13: "-tls1_3"}

// visitors are clients of both kinds for both versions, which have been nowhere yet.
func visitors(t testing.TB, s *site) []visitor {
	t.Helper()
	var list []visitor
	for version, flag := range versions {
		cfg := s.clientTLS()
		cfg.MinVersion, cfg.MaxVersion, cfg.ClientSessionCache = version, version, &firstSession{}
		list = append(list, visitor{"Go " + tls.VersionName(version), func(_ testing.TB, s *site, door string) (bool, error) {
			c := s.enter(door, entry{tls: cfg}) // reads the greeting, behind which no ticket is left
			defer c.Close()
			if c.err != nil {
				return false, c.err
			}
			return c.Conn.(*tls.Conn).ConnectionState().DidResume, nil
		}})
		file := filepath.Join(t.TempDir(), "session")
		list = append(list, visitor{"OpenSSL " + tls.VersionName(version), func(t testing.TB, s *site, door string) (bool, error) {
			return openSSL(t, s, door, file, flag)
		}})
	}
	return list
}

// firstSession keeps the first session only.
type firstSession struct{ state *tls.ClientSessionState }

func (f *firstSession) Get(string) (*tls.ClientSessionState, bool) { return f.state, f.state != nil }

func (f *firstSession) Put(_ string, s *tls.ClientSessionState) {
	if f.state == nil {
		f.state = s
	}
}

// openSSL visits with the session of a file, or leaves that of a first visit there.
func openSSL(t testing.TB, s *site, door, file, version string) (resumed bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := []string{"s_client", "-connect", hostPort(s.host, portIMAPS), "-servername", serverName, "-ign_eof", version}
	if door == "imap" {
		args[2] = hostPort(s.host, portIMAP)
		args = append(args, "-starttls", "imap")
	}
	if _, err := os.Stat(file); err == nil {
		args = append(args, "-sess_in", file)
	} else {
		args = append(args, "-sess_out", file)
	}
	cmd := exec.CommandContext(ctx, "openssl", args...)
	cmd.Stdin = strings.NewReader("a LOGOUT\r\n")
	out, err := cmd.CombinedOutput()
	switch resumed := bytes.Contains(out, []byte("\nReused, ")); {
	case err != nil:
		return false, fmt.Errorf("openssl: %w\n%s", err, out)
	case !resumed && !bytes.Contains(out, []byte("\nNew, ")):
		return false, fmt.Errorf("openssl does not say whether it was known:\n%s", out)
	default:
		return resumed, nil
	}
}

// known has visitors come to a site, and wants all of them to be known there, or none.
func known(t testing.TB, what string, list []visitor, s *site, door string, want bool) {
	t.Helper()
	for _, v := range list {
		got, err := v.visit(t, s, door)
		if err != nil {
			t.Fatalf("%s, %s at %s: %v", what, v.name, s.host, err)
		}
		if got != want {
			t.Errorf("%s, %s at %s: resumed %v, want %v", what, v.name, s.host, got, want)
		}
	}
}

// turned waits until a node uses the keys of an epoch.
func (e *edge) turned(t testing.TB, epoch int) {
	t.Helper()
	e.p.log.await(t, fmt.Sprintf(`msg="session tickets are sealed with another key" .*epoch=%d `, epoch), 1)
}

// TestFleetTickets: a session that began at one node is known at the others, by both
// versions of TLS, also after the keys were turned and after all nodes were killed; and
// nowhere any more once they are given up. No key is in clear on any disk.
func TestFleetTickets(t *testing.T) {
	t.Parallel()
	require(t, "openssl")
	r := newRig(t, rigOptions{servers: 1})
	r.start()
	a, b, c := r.nodes[0], r.nodes[1], r.nodes[2]
	for _, e := range r.nodes {
		e.turned(t, 1)
	}
	first := visitors(t, a.site)
	known(t, "the first visit", first, a.site, "imaps", false)
	for _, e := range r.nodes {
		known(t, "of the first node", first, e.site, "imaps", true)
	}
	known(t, "by STARTTLS", first, b.site, "imap", true)
	if resumed, err := first[0].visit(t, b.site, "pop3s"); err != nil || resumed {
		t.Errorf("at the listener of another protocol: resumed %v, %v", resumed, err)
	}

	admin := r.administrator("")
	var keys []cluster.TicketKey
	note := func() {
		t.Helper()
		now, _ := admin.TicketKeys()
		if len(now) < 2 {
			t.Fatal("no keys")
		}
		keys = append(keys, now...)
	}
	note()
	rotate := func(epoch int, args ...string) {
		t.Helper()
		out, err := b.p.command(append([]string{"fleet", "rotate-tickets", "--socket", b.socket()}, args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, e := range r.nodes {
			e.turned(t, epoch)
		}
	}
	rotate(3) // the first two are there from the start, and the second was never used
	eventually(t, "the administrator's table", func() bool { return admin.TicketEpoch() == 3 })
	note()
	second := visitors(t, a.site)
	known(t, "the first visit by the new key", second, c.site, "imaps", false)
	for _, e := range r.nodes {
		known(t, "over a rotation", first, e.site, "imaps", true)
		known(t, "by the new key", second, e.site, "imaps", true)
	}

	for _, e := range r.nodes {
		e.kill()
	}
	for _, e := range r.nodes {
		e.begin()
	}
	for _, e := range r.nodes {
		e.ready()
		e.turned(t, 3)
	}
	for _, e := range r.nodes {
		known(t, "of two keys ago, after a restart of all", first, e.site, "imaps", true)
		known(t, "after a restart of all", second, e.site, "imaps", true)
	}

	rotate(5, "--drop")
	for _, e := range r.nodes {
		known(t, "after all keys were given up", first, e.site, "imaps", false)
		known(t, "after all keys were given up", second, e.site, "imaps", false)
	}
	for _, e := range r.nodes {
		noKeys(t, e.dir, keys)
	}
}

// noKeys wants no key, nor its form in base64, in any file below a directory.
func noKeys(t testing.TB, dir string, keys []cluster.TicketKey) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, k := range keys {
			clear := bytes.Contains(text, k[:])
			for i := range 3 { // wherever it begins in what is encoded
				clear = clear || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(k[i:i+27])))
			}
			if clear {
				t.Errorf("%s has a key in clear", path)
			}
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("%d files below %s: %v", files, dir, err)
	}
}

// TestFleetTicketsAlone has a node start without its fleet. Its listeners work, by keys of
// its own, until there is a fleet; whoever came before does a full handshake once.
func TestFleetTicketsAlone(t *testing.T) {
	t.Parallel()
	require(t, "openssl")
	r := newRig(t, rigOptions{servers: 1})
	a := r.nodes[0]
	a.begin()
	a.p.log.await(t, `msg="the node starts without its fleet"`, 1)
	own := visitors(t, a.site)
	eventually(t, "the listeners are open", func() bool {
		c := a.enter("imaps", entry{})
		defer c.Close()
		return c.err == nil
	})
	known(t, "the first visit", own, a.site, "imaps", false)
	known(t, "by the node's own key", own, a.site, "imaps", true)
	for _, e := range r.nodes[1:] {
		e.begin()
	}
	for _, e := range r.nodes {
		e.turned(t, 1)
	}
	known(t, "of before the fleet", own, a.site, "imaps", false)
	list := visitors(t, a.site)
	known(t, "the first visit of the fleet", list, a.site, "imaps", false)
	r.nodes[1].ready()
	known(t, "at the other node", list, r.nodes[1].site, "imaps", true)
}

// TestTicketsOfOne: a node alone knows the sessions of before it was killed.
func TestTicketsOfOne(t *testing.T) {
	t.Parallel()
	require(t, "openssl")
	s := newSite(t, "shared", dovecot.Start(t, dovecot.Options{Name: "mail1"}))
	e := &edge{site: s, name: "alone"}
	e.begin()
	e.ready()
	e.turned(t, 1)
	list := visitors(t, s)
	known(t, "the first visit", list, s, "imaps", false)
	known(t, "the second", list, s, "imap", true)
	e.p.signal(syscall.SIGKILL)
	<-e.p.done
	e.p.err = nil // as was asked
	e.begin()
	e.ready()
	known(t, "after its death", list, s, "imaps", true)
}
