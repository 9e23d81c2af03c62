package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/certs"
	"usher.example/balancer/forward"
	"usher.example/cluster"
)

// kept stands for a keeper of certificates: what it has is what a test says.
type kept struct {
	list  []certs.Status
	renew func(ctx context.Context, name string, force bool) error

	mu    sync.Mutex
	chain string // that was imported
	key   string
}

func (k *kept) List() []certs.Status { return k.list }

func (k *kept) Renew(ctx context.Context, name string, force bool) error {
	return k.renew(ctx, name, force)
}

func (k *kept) Import(_ context.Context, chain, key []byte) (certs.Import, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !strings.Contains(string(key), "PRIVATE KEY") {
		return certs.Import{}, fmt.Errorf("%w: the key is not PEM", certs.ErrUnfit)
	}
	k.chain, k.key = string(chain), string(key)
	return certs.Import{Status: k.list[0], Warnings: []string{"no intermediate"}}, nil
}

func (k *kept) Remove(_ context.Context, name string) (certs.Status, error) {
	if name != "mail.example.org" {
		return certs.Status{}, fmt.Errorf("%w: %q", certs.ErrUnknown, name)
	}
	return k.list[0], nil
}

func (k *kept) Export(name string, key bool) (certs.Export, error) {
	switch name {
	case "mail.example.org":
		e := certs.Export{Status: k.list[0], Certificate: []byte("CERTIFICATE\n"), Chain: []byte("CHAIN\n")}
		if key {
			e.Key = []byte("SECRET\n")
		}
		return e, nil
	case "two.example.org":
		return certs.Export{}, fmt.Errorf("%w: aaaa, bbbb; say which, by its ID", certs.ErrSeveral)
	}
	return certs.Export{}, fmt.Errorf("%w: %q", certs.ErrUnknown, name)
}

// A keeping is a node behind an admin socket that has certificates.
type keeping struct {
	*operated
	log strings.Builder // to be read when nothing runs any more
}

func keep(t *testing.T, k admin.Certificates) *keeping {
	t.Helper()
	n := &keeping{operated: &operated{socket: filepath.Join(t.TempDir(), "usher.sock")}}
	log := slog.New(slog.NewTextHandler(&n.log, nil))
	places := alone(t, cluster.FleetOptions{Log: slog.New(slog.DiscardHandler)})
	l, err := admin.Listen(n.socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	desk := admin.New(admin.Options{
		Log: log, Node: balancer.New(balancer.Deps{Engine: new(forward.Copy), Placer: places, Log: log}), Places: places, Keeper: k,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = desk.Run(ctx, l) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return n
}

// statuses are a certificate that is well, one that is not, and one that is wanted.
func statuses() []certs.Status {
	now := time.Now()
	return []certs.Status{
		{
			ID: "aaaa11112222", Fingerprint: "aaaa111122223333", Names: []string{"mail.example.org", "*.mail.example.org"}, Listeners: []string{"imaps", "pop3s"},
			Source: "acme", From: "https://ca.example/directory", Key: "ECDSA P-256", Issuer: "CN=Test Middle,O=Test,C=DE", Serial: "1a2b",
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(89*24*time.Hour + time.Hour), RenewAt: now.Add(60 * 24 * time.Hour),
			Chain: []*certs.ChainLink{{Subject: "CN=mail.example.org", Issuer: "CN=Test Middle", NotAfter: now.Add(89 * 24 * time.Hour)}, {Subject: "CN=Test Middle", Issuer: "CN=Test Root", NotAfter: now.Add(900 * 24 * time.Hour)}},
		},
		{
			ID: "bbbb11112222", Names: []string{"old.example.org"}, Listeners: []string{"imaps"}, Source: "file", From: "/etc/usher/old.pem",
			Key: "RSA 2048", Issuer: "CN=Test Middle", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(50*time.Hour + time.Minute), Ending: true,
		},
		{Names: []string{"new.example.org"}, Listeners: []string{"imaps"}, Source: "acme", Problem: "the CA says \x1b[2Jno; look at its words"},
	}
}

func TestCertList(t *testing.T) {
	k := &kept{list: statuses()}
	n := keep(t, k)
	out, status, err := n.run(t, "cert", "list")
	if status != 0 {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ID ", "NAMES ", "PROBLEM", "aaaa11112222", "mail.example.org,*.mail.example.org", "  ECDSA P-256  Test Middle  ", "(in 89d)", "imaps,pop3s",
		"(in 2d)", `the CA says \x1b[2Jno; look at its words`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	now := time.Now()
	if out, status, err := n.run(t, "cert", "list", "--check"); status != 1 || !strings.Contains(out, "mail.example.org") ||
		!strings.Contains(err.Error(), "2 certificates to see to: old.example.org: it expires on") || !strings.Contains(err.Error(), "new.example.org: \"the CA") {
		t.Errorf("got %d, %v, want both to be named", status, err)
	}
	k.list = k.list[:1]
	k.list[0].NotAfter = now.Add(50 * time.Hour) // of six days, or another replaces it
	if _, status, err := n.run(t, "cert", "list", "--check"); status != 0 {
		t.Errorf("got %d, %v, want all to be well", status, err)
	}
	out, _, err = n.run(t, "cert", "list", "--json")
	if err != nil || !strings.Contains(out, `"sha256": "aaaa111122223333"`) || strings.Contains(out, "null") {
		t.Errorf("got %v, %s", err, out)
	}
	k.list = nil
	if out, status, err := n.run(t, "cert", "list", "--json"); status != 0 || !strings.Contains(out, `"certificates": []`) {
		t.Errorf("got %d, %v, %s", status, err, out)
	}
	if _, status, err := keep(t, nil).run(t, "cert", "list"); status != exitFailed || !strings.Contains(err.Error(), "keeps no certificates") {
		t.Errorf("a witness: got %d, %v", status, err)
	}
	if _, status, err := keep(t, nil).run(t, "cert", "list", "--check"); status != exitTemporary {
		t.Errorf("who cannot say: got %d, %v, want %d", status, err, exitTemporary)
	}
	if _, status, _ := run(t, "cert", "list", "--check", "--socket", filepath.Join(t.TempDir(), "none")); status != exitTemporary {
		t.Errorf("nobody there: got %d, want %d", status, exitTemporary)
	}
}

func TestCertShow(t *testing.T) {
	n := keep(t, &kept{list: statuses()})
	for name, want := range map[string][]string{
		"mail.example.org":      {"Names", "https://ca.example/directory", "1a2b", "aaaa111122223333", "Renewed", "Chain 2", "CN=Test Root"},
		"aaaa1":                 {"mail.example.org"},
		"imap.mail.example.org": {"*.mail.example.org"},
		"OLD.example.org.":      {"/etc/usher/old.pem", "not by usher"},
		"new.example.org":       {"there is none yet", "look at its words"},
	} {
		out, status, err := n.run(t, "cert", "show", name)
		if status != 0 || strings.HasPrefix(out, "\n") {
			t.Errorf("%s: got %d, %v, %q", name, status, err, out)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", name, w, out)
			}
		}
	}
	if _, status, err := n.run(t, "cert", "show", "other.example.org"); status != exitNotFound || !strings.Contains(err.Error(), "usher cert list") {
		t.Errorf("got %d, %v", status, err)
	}
}

func TestCertRenew(t *testing.T) {
	asked := make(chan string, 10)
	k := &kept{renew: func(ctx context.Context, name string, force bool) error {
		asked <- fmt.Sprint(name, " ", force)
		switch name {
		case "bad":
			return errors.New("the CA says: too many; wait a week")
		case "unknown":
			return certs.ErrUnknown
		case "fixed":
			return fmt.Errorf(`%w: fixed has source "file"`, certs.ErrNotHere)
		case "slow":
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	n := keep(t, k)
	if out, status, err := n.run(t, "cert", "renew", "--force", "mail.example.org"); status != 0 || out != "done\n" || <-asked != "mail.example.org true" {
		t.Errorf("got %q, %d, %v", out, status, err)
	}
	for name, want := range map[string]struct {
		status int
		text   string
	}{
		"bad": {exitTemporary, "wait a week"}, "unknown": {exitNotFound, "usher cert list"}, "fixed": {exitFailed, "read again when they change"},
	} {
		_, status, err := n.run(t, "cert", "renew", name)
		if status != want.status || err == nil || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: got %d, %v", name, status, err)
		}
		<-asked
	}
	// Who gives up ends the order, as the connection's end is seen.
	ctx, cancel := context.WithCancel(t.Context())
	root := newRoot()
	root.SetArgs([]string{"cert", "renew", "slow", "--socket", n.socket})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	<-asked
	cancel()
	var exit *exitError
	if err := <-ended; !errors.As(err, &exit) || exit.code != exitTemporary || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v, want it interrupted", err)
	}
}

func TestCertImport(t *testing.T) {
	k := &kept{list: statuses()}
	n := keep(t, k)
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := "-----BEGIN PRIVATE KEY-----\nc2VzYW1l\n-----END PRIVATE KEY-----\n"
	chain := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	crt, key := file("a.pem", chain, 0o644), file("a.key", secret, 0o600)
	out, status, err := n.run(t, "cert", "import", crt, key)
	if status != 0 || !strings.Contains(out, "imported aaaa11112222 for mail.example.org") || !strings.Contains(out, "warning: no intermediate") {
		t.Errorf("got %d, %v, %q", status, err, out)
	}
	if k.chain != chain || k.key != secret {
		t.Errorf("got %q and %q", k.chain, k.key)
	}
	both := file("both.pem", chain+secret+chain, 0o604)
	out, status, err = n.run(t, "cert", "import", both)
	if status != 0 || k.key != secret || !strings.Contains(out, "chmod 600") {
		t.Errorf("got %d, %v, %q, %q", status, err, out, k.key)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no key":      {[]string{crt, crt}, "not PEM"},
		"no file":     {[]string{filepath.Join(dir, "none"), key}, "no such file"},
		"too large":   {[]string{file("large.pem", strings.Repeat("x", 1<<20), 0o600), key}, "octets"},
		"no argument": {nil, "arg"},
	} {
		_, status, err := n.run(t, append([]string{"cert", "import"}, c.args...)...)
		if status == 0 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %d, %v", name, status, err)
		}
	}
}

func TestCertRemove(t *testing.T) {
	n := keep(t, &kept{list: statuses()})
	say := func(said string) (string, error) {
		var out strings.Builder
		root := newRoot()
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetIn(strings.NewReader(said))
		root.SetArgs([]string{"cert", "remove", "mail.example.org", "--socket", n.socket})
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	for _, said := range []string{"", "n\n", "maybe\n"} {
		if out, err := say(said); err == nil || !strings.Contains(err.Error(), "nothing was removed") || !strings.Contains(out, "[y/N]") {
			t.Errorf("%q: got %v, %q", said, err, out)
		}
	}
	if out, err := say("y\n"); err != nil || !strings.Contains(out, "removed aaaa11112222") {
		t.Errorf("got %v, %q", err, out)
	}
	if _, status, err := n.run(t, "cert", "remove", "--yes", "x.example.org"); status != exitNotFound {
		t.Errorf("got %d, %v", status, err)
	}
}

func TestCertExport(t *testing.T) {
	n := keep(t, &kept{list: statuses()})
	dir := t.TempDir()
	out, status, err := n.run(t, "cert", "export", "mail.example.org", "--out", dir)
	if status != 0 || strings.Contains(out, "SECRET") {
		t.Fatalf("got %d, %v, %q", status, err, out)
	}
	for name, want := range map[string]struct {
		content string
		mode    os.FileMode
	}{
		"mail.example.org.pem": {"CERTIFICATE\nCHAIN\n", 0o644}, "mail.example.org.key": {"SECRET\n", 0o600}, "mail.example.org.chain.pem": {"CHAIN\n", 0o644},
	} {
		path := filepath.Join(dir, name)
		content, err := os.ReadFile(path)
		if err != nil || string(content) != want.content {
			t.Errorf("%s: got %q, %v", name, content, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != want.mode {
			t.Errorf("%s: got %v, want %v", name, info.Mode(), want.mode)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	key := filepath.Join(dir, "mail.example.org.key")
	if err := os.WriteFile(key, []byte("another's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "mail.example.org.pem")); err != nil {
		t.Fatal(err)
	}
	_, status, err = n.run(t, "cert", "export", "mail.example.org", "--out", dir)
	if content, _ := os.ReadFile(key); status != exitFailed || !strings.Contains(err.Error(), "nothing was written") || string(content) != "another's" {
		t.Errorf("got %d, %v, %q", status, err, content)
	}
	if _, err := os.Stat(filepath.Join(dir, "mail.example.org.pem")); err == nil {
		t.Error("half of it was written")
	}
	if _, status, err := n.run(t, "cert", "export", "mail.example.org", "--out", dir, "--force"); status != 0 {
		t.Error(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	for args, want := range map[string]string{"": "CERTIFICATE\nCHAIN\n", "--key": "CERTIFICATE\nCHAIN\nSECRET\n"} {
		all := append([]string{"cert", "export", "mail.example.org", "--out", "-"}, strings.Fields(args)...)
		if out, status, err := n.run(t, all...); status != 0 || out != want {
			t.Errorf("%q: got %d, %v, %q", args, status, err, out)
		}
	}
	if _, status, err := n.run(t, "cert", "export", "two.example.org", "--out", dir); status != exitFailed || !strings.Contains(err.Error(), "by its ID") {
		t.Errorf("got %d, %v", status, err)
	}
	if got := fileName("*.mail.example.org/../x"); got != "_.mail.example.org_.._x" {
		t.Errorf("got %q", got)
	}
}
