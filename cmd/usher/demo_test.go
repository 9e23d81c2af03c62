package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoLimit is how long the tour may take after the build, as promised to who
// tries usher for the first time.
const demoLimit = 20 * time.Second

// nobody is the user and group that has no rights anywhere.
const nobody = 65534

// TestDemoOnce runs the demo as who has nothing: no root, no network, no home,
// one folder to write to. Root takes all that away from himself; another user
// has at least no root.
func TestDemoOnce(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	args := append(poor(t, dir), copyProgram(t), "demo", "--once")
	ctx, cancel := context.WithTimeout(t.Context(), patience+demoLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR=" + dir}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &out, &errs)
	}
	if took := time.Since(begin); took > demoLimit {
		t.Errorf("the tour took %v, want at most %v", took, demoLimit)
	}
	if errs.Len() > 0 {
		t.Errorf("on standard error: %s", &errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	text := out.String()
	for i := 1; i <= 13; i++ {
		if !strings.Contains(text, fmt.Sprintf("\n%d. ", i)) {
			t.Errorf("step %d is missing", i)
		}
	}
	if !strings.HasSuffix(text, "\nEvery step held.\n") {
		t.Error("it does not say that every step held")
	}
	checkPlaces(t, text)
	if t.Failed() {
		t.Log(text)
	}
}

// poor is the command in front of another that takes rights and network away.
func poor(t *testing.T, dir string) []string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: running as the user that this is, with the network that is there")
		return nil
	}
	require(t, "unshare", "setpriv", "ip")
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(nobody)
	weak := []string{
		"setpriv", "--reuid", id, "--regid", id, "--clear-groups",
		"--inh-caps=-all", "--bounding-set=-all", "--no-new-privs",
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--net", "true").CombinedOutput(); err != nil {
		t.Logf("no network namespaces here, so with the network that is there: %v: %s", err, out)
		return weak
	}
	alone := []string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}
	return append(alone, weak...)
}

// openTemp is a folder of the test that all users may enter, and with a name
// that leaves room for that of a socket.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo-") //nolint:usetesting // t.TempDir's name is too long for a socket, and closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyProgram puts usher where everybody may run it.
func copyProgram(t *testing.T) string {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openTemp(t), "usher")
	// Another process writes it: were it this one, a fork of a parallel test
	// could hold it open for writing, and nobody could run it (ETXTBSY).
	run(t, "", "install", "-m", "755", binary, path)
	return path
}

// checkPlaces reads the tables: the same place by both logins, by usher's word
// and by the hash; after the death of a server its users are elsewhere and all
// others where they were; and at last everybody is home.
func checkPlaces(t *testing.T, text string) {
	t.Helper()
	section := func(n int) string {
		_, after, _ := strings.Cut(text, fmt.Sprintf("\n%d. ", n))
		before, _, _ := strings.Cut(after, fmt.Sprintf("\n%d. ", n+1))
		return before
	}
	rows := func(n int) [][]string {
		var rows [][]string
		for line := range strings.Lines(section(n)) {
			if cells := strings.Fields(line); len(cells) > 2 && strings.Contains(cells[0], "@") {
				rows = append(rows, cells)
			}
		}
		return rows
	}
	homes, used := map[string]string{}, map[string]bool{}
	for _, row := range rows(4) {
		homes[row[0]] = row[1]
		used[row[1]] = true
		if len(row) != 6 || row[2] != row[1] || row[3] != row[1] || row[4] != row[1] || row[5] != row[1] {
			t.Errorf("at first: %q, want one place", row)
		}
	}
	if len(homes) != 12 || len(used) != 3 {
		t.Errorf("%d users on %d back ends, want 12 on 3", len(homes), len(used))
	}
	for _, row := range rows(6) {
		if len(row) != 5 || row[3] != homes[row[0]] || row[4] != row[3] || row[1] == row[2] {
			t.Errorf("after the death of an usher: %q, want the place that it was by another usher", row)
		}
	}
	if len(rows(6)) != 4 {
		t.Errorf("%d users of the usher that died, want 4", len(rows(6)))
	}
	checkSteered(t, section, rows, homes, used)
	dead, _, _ := strings.Cut(strings.TrimSpace(section(10)[len("A server dies"):]), " ")
	if !used[dead] {
		t.Fatalf("%q is dead, want one of %v", dead, used)
	}
	after := rows(11)
	if len(after) != len(homes) {
		t.Errorf("%d users log in again, want %d", len(after), len(homes))
	}
	moved := 0
	for _, row := range after {
		switch {
		case row[1] != homes[row[0]]:
			t.Errorf("%q, want that he was on %s", row, homes[row[0]])
		case row[1] == dead && (row[2] == dead || !used[row[2]]):
			t.Errorf("%q, want another back end", row)
		case row[1] != dead && row[2] != row[1]:
			t.Errorf("%q moved, want that he stays", row)
		case row[1] == dead:
			moved++
		}
	}
	back := rows(12)
	if len(back) != moved || moved == 0 {
		t.Errorf("%d users come home, want %d and more than none", len(back), moved)
	}
	for _, row := range back {
		if len(row) != 4 || row[1] != row[2] || row[3] != dead {
			t.Errorf("%q, want that he stays while he is logged in and is then on %s", row, dead)
		}
	}
}

// checkSteered reads who was moved and what was drained. Whoever was moved is at
// home where he was moved to.
func checkSteered(t *testing.T, section func(int) string, rows func(int) [][]string, homes map[string]string, used map[string]bool) {
	t.Helper()
	on := regexp.MustCompile(`(?m)^   usher\d +(\S+)$`).FindAllStringSubmatch(section(8), -1)
	moved, _, _ := strings.Cut(strings.TrimSpace(section(8)[len("A user is moved"):]), " ")
	if len(on) != 3 || on[0][1] == homes[moved] || !used[on[0][1]] || on[1][1] != on[0][1] || on[2][1] != on[0][1] {
		t.Fatalf("%q is on %q, want one other place through three ushers", moved, on)
	}
	homes[moved] = on[0][1]
	drained, _, _ := strings.Cut(strings.TrimSpace(section(9)[len("A server is drained"):]), " ")
	seen := map[string]int{}
	for _, row := range rows(9) {
		is := row[1]
		seen[is]++
		if at := row[len(row)-1]; !used[at] || (at == drained) != (is == "logged") {
			t.Errorf("%q while %s drains, want that only who is logged in stays", row, drained)
		}
	}
	if seen["logged"] == 0 || seen["new"] != 3 {
		t.Errorf("while %s drains: %v, want some who are logged in and 3 who are new", drained, seen)
	}
}

// TestDemoServes pastes every line that the demo prints, and ends it by Ctrl-C
// while somebody is logged in.
func TestDemoServes(t *testing.T) {
	require(t, "curl", "openssl")
	t.Parallel()
	dir := openTemp(t)
	log, ended, interrupt := startDemo(t, dir)
	log.await(t, `Ctrl-C`, 1)
	login := regexp.MustCompile(`a LOGIN \S+ [A-Z0-9]+`).FindString(log.String())
	left := stayIn(t, log.lines(`^      openssl s_client`)[0], login)
	// In this order: the log is looked at last, when somebody has been here.
	for _, paste := range [][2]string{
		{`curl --cacert`, "Subject: You are on "},
		{`openssl s_client -quiet -crlf -connect`, "a OK "},
		{`openssl .*-starttls`, "a OK "},
		{`\S+ status --socket`, "127.0.0.1"},
		{`\S+ sessions --socket`, "ada@demo.example"},
		{`curl http.*/readyz`, "ready"},
		{`curl http.*/metrics`, "usher_backend_up"},
		{`\S+ check -c`, "good, 2 listeners, 1 pools, 0 warnings"},
		{`cat `, `storage = "shared"`},
		{`tail -f `, "user=ada@demo.example"},
	} {
		prefix, want := paste[0], paste[1]
		lines := log.lines(`^      ` + prefix)
		if len(lines) != 1 {
			t.Errorf("%d lines begin with %q, want 1", len(lines), prefix)
			continue
		}
		line := strings.Replace(lines[0], "tail -f", "tail", 1)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Env = append(os.Environ(), "no_proxy=*")
		cmd.Stdin = strings.NewReader(login + "\nb SELECT INBOX\nc LOGOUT\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s\ngot %v\n%s\nwant %q", line, err, out, want)
		}
	}

	interrupt()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after Ctrl-C: %v, want status 0", err)
		}
	case <-time.After(patience):
		t.Fatal("Ctrl-C does not end it")
	}
	select {
	case <-left:
	case <-time.After(patience):
		t.Error("a session goes on after Ctrl-C")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if t.Failed() {
		t.Log(log.String())
	}
}

// startDemo starts the demo with that folder for temporary files. The kernel
// kills it when the thread that started it ends, should the test die.
func startDemo(t *testing.T, dir string) (log *transcript, ended <-chan error, interrupt func()) {
	t.Helper()
	cmd := exec.Command(copyProgram(t), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log = new(transcript)
	cmd.Stdout, cmd.Stderr = log, log
	started, end, over := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() { // ends with the process
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(over)
		err := cmd.Start()
		started <- err
		if err == nil {
			end <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // if it has not ended
		<-over
	})
	return log, end, func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
	}
}

// stayIn logs in by a line to paste and stays; left is closed when the session
// has been ended.
func stayIn(t *testing.T, line, login string) (left <-chan struct{}) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "exec "+line)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, end := new(transcript), make(chan struct{})
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the session, or with the test's context
		defer close(end)
		_ = cmd.Wait() // its status says only how the connection ended
	}()
	t.Cleanup(func() { <-end })
	if _, err := io.WriteString(stdin, login+"\n"); err != nil {
		t.Fatal(err)
	}
	said.await(t, `^a OK `, 1)
	return end
}
