package dovecot

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// version is the series whose configuration language this package writes.
const version = "2.3."

// sbin is where Debian puts servers; it is not on every user's PATH.
const sbin = "/usr/sbin"

// libexec holds Dovecot's login processes; which are there depends on the
// packages installed (dovecot-imapd, dovecot-pop3d).
const libexec = "/usr/lib/dovecot"

// Available reports what keeps this machine from running the harness, or nil.
var Available = sync.OnceValue(available)

func available() error {
	program, err := find("dovecot")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return fmt.Errorf("ask for Dovecot's version: %w", err)
	}
	if !strings.HasPrefix(string(out), version) {
		return fmt.Errorf("this Dovecot is %q, the harness writes configuration for %sx",
			strings.TrimSpace(string(out)), version)
	}
	for _, login := range []string{"imap-login", "pop3-login"} {
		if _, err := os.Stat(filepath.Join(libexec, login)); err != nil {
			return fmt.Errorf("find Dovecot's %s: %w", login, err)
		}
	}
	return nil
}

// Require ends the test unless Dovecot, and every other program named, is
// installed. Who merely works on the code sees the test skipped, with the
// reason; where CI=true or USHER_REQUIRE_REAL=1 is set (make test sets it) the
// test fails instead, since there a skipped test would be a hole in the proof.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	err := Available()
	for _, program := range programs {
		if err == nil {
			_, err = find(program)
		}
	}
	switch {
	case err == nil:
	case mustRun():
		t.Fatalf("the real programs must be here (make test installs them): %v", err)
	default:
		t.Skipf("SKIPPED, needs real programs (make test installs them): %v", err)
	}
}

func mustRun() bool {
	return os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1"
}

// find returns a program's path, looking beyond PATH where Debian keeps servers.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(filepath.Join(sbin, program)); err == nil {
		return path, nil
	}
	return "", err
}
