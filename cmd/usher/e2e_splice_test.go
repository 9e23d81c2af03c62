package main_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// TestSplice fetches 50 MiB from a plaintext back end through a plaintext
// listener, and has the kernel say that they never came into usher's memory: by
// its account of the process, and by a trace of its system calls.
func TestSplice(t *testing.T) {
	require(t, "strace")
	srv := dovecot.Start(t, dovecot.Options{})
	s := newSite(t, "shared", srv)
	s.listeners = []listener{
		{name: "plain", protocol: "imap", tls: "none", port: portIMAP, more: "plaintext_networks = [\"127.0.0.0/8\"]\n"},
	}
	s.pools[0].more = "tls = \"none\"\nclient_address = \"proxy2\"\n"
	p := s.serve()
	message := bigMessage()
	srv.Deliver(t, "joe", "", message)

	c := enter(t, s, "imap", entry{plain: true})
	if got := c.login("joe", "secret"); !good(got) {
		t.Fatalf("login: %s", got)
	}
	c.command("SELECT INBOX")
	fetch := func() {
		t.Helper()
		c.send("f FETCH 1 BODY.PEEK[]")
		line := c.until("* 1 FETCH")
		if want := fmt.Sprintf("{%d}", len(message)); !strings.HasSuffix(line, want) {
			t.Fatalf("got %q, want %s", line, want)
		}
		sum := sha256.New()
		if _, err := io.CopyN(sum, c.r, int64(len(message))); err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(message); !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Errorf("checksum %x, want %x", sum.Sum(nil), want)
		}
		c.until("f OK")
		c.must(t)
	}

	// What read and write have moved, sockets included (proc_pid_io(5)).
	before := p.moved(t)
	if before["rchar"] == 0 || before["wchar"] == 0 {
		t.Error("the kernel does not count here")
	}
	fetch()
	after := p.moved(t)
	t.Logf("for a message of %d octets usher read %d and wrote %d", len(message), after["rchar"]-before["rchar"], after["wchar"]-before["wchar"])
	for _, key := range []string{"rchar", "wchar"} {
		if n := after[key] - before[key]; n > 1<<20 {
			t.Errorf("%s: %d octets went through usher's memory", key, n)
		}
	}

	calls := p.trace(t, fetch)
	others := calls["read"] + calls["write"] + calls["recvfrom"] + calls["sendto"] + calls["readv"] + calls["writev"]
	t.Logf("system calls: %v", calls)
	if calls["splice"] < 50 || others > calls["splice"]/2 {
		t.Errorf("%d calls of splice, %d of read and write and their kin", calls["splice"], others)
	}

	c.logout()
	line := p.log.await(t, " msg=session .*result=ok", 1)[0]
	if got := field(line, "path"); got != "splice" {
		t.Errorf("path=%s: %s", got, line)
	}
	// Commands and short answers are read, and so is how a long one begins.
	least := 2*len(message) - (p.moved(t)["rchar"] - before["rchar"])
	if got := p.metric(t, "usher_spliced_bytes_total"); got < float64(least) {
		t.Errorf("metrics: %v octets spliced, want at least %d", got, least)
	}
}

// moved is the kernel's account of what the process has read and written.
func (p *proc) moved(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.pid()))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if counts[key], err = strconv.Atoi(value); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return counts
}

// trace counts the system calls that move bytes while do runs.
func (p *proc) trace(t *testing.T, do func()) map[string]int {
	t.Helper()
	file := t.TempDir() + "/strace"
	said := new(transcript)
	cmd := exec.Command("strace", "-f", "-c", "-o", file,
		"-e", "trace=splice,read,write,readv,writev,recvfrom,sendto", "-p", strconv.Itoa(p.pid()))
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if !poll(patience, func() bool {
		return strings.Contains(said.String(), "attached") || strings.Contains(said.String(), "not permitted")
	}) || strings.Contains(said.String(), "not permitted") {
		_ = cmd.Process.Kill() // it may have ended already
		<-ended
		t.Skipf("SKIPPED the trace, strace may not look at processes here: %s", said)
	}
	do()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-ended // by the signal, so with an error
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// % time, seconds, usecs/call, calls, (errors,) syscall
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 5 && f[len(f)-1] != "total" {
			if n, err := strconv.Atoi(f[3]); err == nil {
				counts[f[len(f)-1]] = n
			}
		}
	}
	return counts
}
