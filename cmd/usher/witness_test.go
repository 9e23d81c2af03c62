package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher.example/cluster"
)

// freeAddress is one where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A witness votes and answers until it is told to end, takes up another secret when
// it is told to, and leaves a state that can be recovered.
func TestWitness(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if _, status, err := run(t, "fleet", "secret", secret); status != 0 {
		t.Fatal(err)
	}
	o := &operated{socket: filepath.Join(dir, "sock")}
	public := freeAddress(t)
	file := filepath.Join(dir, "usher.toml")
	write := func(voter string) {
		text := "[admin]\nsocket = \"sock\"\nhttp = \"" + public + "\"\n[fleet]\nname = \"mail\"\nnode = \"w\"\nsecret_file = \"secret\"\nbind = \"" +
			freeAddress(t) + "\"\nstate_dir = \"state\"\nvoters = [\"" + voter + "\"]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("x")
	if err := witness(t.Context(), file, t.Output(), nil); err == nil || !strings.Contains(err.Error(), `"w" is not among voters`) {
		t.Errorf("got %v", err)
	}
	if _, status, err := run(t, "check", "--witness", "-c", file); status != exitFailed || err == nil || !strings.Contains(err.Error(), `"w" is not among voters`) {
		t.Errorf("check: got %d, %v", status, err)
	}
	write("w")
	if out, status, err := run(t, "check", "--witness", "-c", file); status != 0 || !strings.Contains(out, "good, node w votes in fleet mail, 0 warnings\n") {
		t.Errorf("check: got %d, %v, %s", status, err, out)
	}
	if _, status, _ := run(t, "check", "-c", file); status == 0 {
		t.Error("check: without --witness it is taken for one that could serve")
	}

	ctx, stop := context.WithCancel(t.Context())
	reload := make(chan os.Signal, 1)
	var living sync.WaitGroup
	ended := make(chan error, 1)
	living.Go(func() { ended <- witness(ctx, file, t.Output(), reload) })
	t.Cleanup(func() { stop(); living.Wait() })
	await(t, "the witness to lead itself", func() bool {
		_, status, _ := o.run(t, "fleet", "status")
		return status == 0
	})
	for _, tt := range []struct{ args, want string }{
		{"fleet status", "fleet mail, seen by w, led by w\n"},
		{"node list", "witness"},
		{"status", ", ready\n"},
		{"sessions", ""},
	} {
		if out, status, err := o.run(t, strings.Fields(tt.args)...); status != 0 || !strings.Contains(out, tt.want) {
			t.Errorf("%s: got %d, %v, %s", tt.args, status, err, out)
		}
	}
	if _, status, err := o.run(t, "node", "drain", "w"); status != exitNotFound {
		t.Errorf("to drain a witness: got %d, %v", status, err)
	}
	for path, want := range map[string]string{"/healthz": "alive\n", "/readyz": "ready\n", "/metrics": "\nusher_ready 1\n"} {
		if got := fetch(t, "http://"+public+path); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in %s", path, want, got)
		}
	}

	was := secretsOf(t, o)
	if _, status, err := run(t, "fleet", "secret", "--rotate", "add", secret); status != 0 {
		t.Fatal(err)
	}
	reload <- syscall.SIGHUP
	await(t, "the secret to have two versions", func() bool {
		now := secretsOf(t, o)
		return len(was) == 1 && len(now) == 2 && slices.Contains(now, was[0])
	})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	out, status, err := run(t, "fleet", "recover", "-c", file)
	if status != 0 || !strings.Contains(out, "voters w, 0 pins\nnothing was changed") {
		t.Errorf("got %d, %v, %s", status, err, out)
	}
	out, status, err = run(t, "fleet", "recover", "--yes", "-c", file)
	if status != 0 || !strings.Contains(out, "this node is the only voter now") {
		t.Errorf("got %d, %v, %s", status, err, out)
	}
}

// secretsOf are the versions of the secret that a node says it has.
func secretsOf(t *testing.T, o *operated) []string {
	t.Helper()
	out, status, err := o.run(t, "fleet", "status", "--json")
	if status != 0 {
		t.Fatal(err)
	}
	var st cluster.Overview
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatal(err)
	}
	return st.Secrets
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A node that serves takes up another secret at SIGHUP, and refuses one with which
// it would be alone.
func TestSecretAtReload(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := cluster.CreateSecretFile(secret); err != nil {
		t.Fatal(err)
	}
	p := newPlant(t)
	p.mail("mail1", "one")
	p.head = "[fleet]\nname = \"mail\"\nnode = \"u1\"\nvoters = [\"u1\"]\nsecret_file = \"" + secret + "\"\nstate_dir = \"" + filepath.Join(dir, "state") +
		"\"\nbind = \"" + freeAddress(t) + "\"\n"
	s := p.serve()
	if err := cluster.RotateSecretFile(secret, cluster.RotateAdd); err != nil {
		t.Fatal(err)
	}
	s.reread(1)
	s.logged(`msg="the fleet's secret is another" fleet=mail versions=2`, 1)
	if err := os.WriteFile(secret, []byte(cluster.NewSecret().Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.orders.reload <- syscall.SIGHUP
	s.logged("the configuration is not good; the one in force stays", 1)
	s.logged("it would be alone with it", 1)
	s.orders.stop <- syscall.SIGTERM
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}
