package peers_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"usher.example/bench/peers"
)

// TestMain plays the benchmark's own program where a target starts that.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "auth" && os.Args[1] != "naive" {
		code := m.Run()
		if usherDir != "" {
			os.RemoveAll(usherDir)
		}
		os.Exit(code)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var child peers.Child
	switch os.Args[1] {
	case "auth":
		a := new(peers.Auth)
		flags.StringVar(&a.Address, "listen", "", "")
		flags.StringVar(&a.IMAP, "imap", "", "")
		flags.StringVar(&a.POP3, "pop3", "", "")
		child = a
	case "naive":
		n := new(peers.Naive)
		n.Flags(flags.StringVar)
		child = n
	}
	_ = flags.Parse(os.Args[2:]) // exits
	if err := peers.RunChild(context.Background(), child, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var usherDir string

// usherBinary builds usher once.
var usherBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "usher-bench-")
	if err != nil {
		return "", err
	}
	usherDir = dir
	file := filepath.Join(dir, "usher")
	out, err := exec.Command("go", "build", "-o", file, "../../cmd/usher").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build usher: %w\n%s", err, out)
	}
	return file, nil
})

func newSite(t *testing.T) peers.Site {
	t.Helper()
	// t.TempDir is closed to the users that peers run as.
	dir, err := os.MkdirTemp("", "usher-bench-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := peers.Site{Dir: dir}
	if s.CertFile, s.KeyFile, _, err = peers.NewCertificate(s.Dir); err != nil {
		t.Fatal(err)
	}
	back := newStub(t)
	s.SinkIMAP, s.SinkPOP3 = back.imap, back.pop3
	if s.Usher, err = usherBinary(); err != nil {
		t.Fatal(err)
	}
	if s.Self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPeersServe(t *testing.T) {
	for _, peer := range peers.All() {
		t.Run(peer.Name, func(t *testing.T) {
			version, err := peer.Version()
			t.Log(version, err)
			site := newSite(t)
			t0 := time.Now()
			target, err := peer.Start(t.Context(), site)
			t.Log("started", time.Since(t0))
			defer func() { t.Log("all", time.Since(t0)) }()
			if err != nil {
				t.Fatal(err)
			}
			defer target.Stop()
			m, err := target.Group.Memory()
			t.Log(target.Group, target.Group.Pids(), m, err)
			cpu, err := target.Group.CPU()
			t.Log(cpu, err)
			if err := target.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
