package dovecot_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

func dialRaw(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// loggedIn returns a live session.
func loggedIn(t testing.TB, srv *dovecot.Server) *client {
	t.Helper()
	c := dial(t, srv.IMAP, "", nil)
	c.send("a LOGIN joe secret")
	c.until("a OK")
	return c
}

func TestKill9(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{})
	other := dovecot.Start(t, dovecot.Options{})
	c, bystander := loggedIn(t, srv), loggedIn(t, other)
	srv.Deliver(t, "joe", "", []byte("Subject: survivor\n\n"))

	start := time.Now()
	srv.Kill9(t)
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("session goes on with %d octets, want it ended", n)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("kill took %v", took)
	}
	if pids := srv.Processes(); len(pids) != 0 {
		t.Errorf("processes %v are left, want none", pids)
	}
	if conn, err := net.DialTimeout("tcp", srv.IMAP, limit); err == nil {
		conn.Close()
		t.Error("the port still answers")
	}
	bystander.send("b NOOP")
	bystander.until("b OK")

	srv.Restart(t)
	c = loggedIn(t, srv)
	c.send("b SELECT INBOX")
	c.until("* 1 EXISTS")
}

func TestStop(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{})
	c := loggedIn(t, srv)
	start := time.Now()
	srv.Stop(t)
	if took := time.Since(start); took > limit/3 {
		t.Errorf("stop took %v", took)
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("session goes on, want it ended")
	}
	srv.WaitLog(t, "master: Warning: Killed with signal 15")
	srv.Stop(t) // once more does no harm
	if pids := srv.Processes(); len(pids) != 0 {
		t.Errorf("processes %v are left, want none", pids)
	}
}

func TestFreeze(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{})
	c := loggedIn(t, srv)
	srv.Freeze(t)
	c.send("b NOOP")
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a frozen server: %d octets, %v; want silence", n, err)
	}
	srv.Thaw(t)
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	c.until("b OK")
	srv.Freeze(t) // that the test's end kills a frozen server too
}

// orphanEnv makes TestOrphan the process that dies.
const orphanEnv = "USHER_TEST_ORPHAN"

// TestOrphan kills a test process as nothing can catch it, and wants its Dovecot
// to end all the same.
func TestOrphan(t *testing.T) {
	if os.Getenv(orphanEnv) != "" {
		srv := dovecot.Start(t, dovecot.Options{})
		os.Stdout.WriteString("listening on " + srv.IMAP + "\n")
		select {} // until killed
	}
	dovecot.Require(t)
	tmp, err := os.MkdirTemp("", "usher-orphan-") //nolint:usetesting // t.TempDir is closed to Dovecot's users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOrphan$")
	cmd.Env = append(os.Environ(), orphanEnv+"=1", "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	session := dialRaw(t, addr)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the test process was not killed")
	}
	session.Close() // before its login, nothing but its end ends it
	deadline := time.Now().Add(limit)
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		conn, err := net.DialTimeout("tcp", addr, limit)
		if err != nil {
			return // nobody listens any more
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("Dovecot outlives the process that started it")
		}
	}
}
