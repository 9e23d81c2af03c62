package packaging_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is how long something may take that happens at once on a machine
	// with nothing else to do.
	patience = 60 * time.Second

	// pollEvery is the time between two looks whether it has happened.
	pollEvery = 20 * time.Millisecond
)

// A machine is a systemd of its own over the files of some Debian, with the network
// of this one. Nothing that is done in it lasts.
type machine struct {
	t    *testing.T
	init int // systemd, as seen from here
}

// mustRun tells whether a test that cannot be run is a hole in the proof.
func mustRun() bool {
	return os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1"
}

// need ends a test whose programs are not here.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			unavailable(t, err)
		}
	}
}

func unavailable(t *testing.T, err error) {
	t.Helper()
	if mustRun() {
		t.Fatalf("this must run here (make test installs what it needs): %v", err)
	}
	t.Skipf("SKIPPED (make test installs what it needs): %v", err)
}

// boot starts a machine over the files in a folder. It ends with the test.
func boot(t *testing.T, files string) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root: only root boots a systemd")
	}
	need(t, "unshare", "nsenter", "systemctl", "bash")
	group := controlGroup(t)
	work := t.TempDir()
	script, err := filepath.Abs("testdata/boot")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(script, files, work, group)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the machine
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it systemd and all below
		<-ended
	})
	m := &machine{t: t}
	eventually(t, "the machine is up", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("boot: %v\n%s", err, said.String())
		default:
		}
		pid := strconv.Itoa(cmd.Process.Pid)
		children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		if err != nil {
			return false
		}
		m.init, _ = strconv.Atoi(strings.TrimSpace(string(children)))
		name, err := os.ReadFile("/proc/" + strings.TrimSpace(string(children)) + "/comm")
		if err != nil || strings.TrimSpace(string(name)) != "systemd" {
			return false
		}
		out, _ := m.try("systemctl", "is-active", "test.target")
		return out == "active"
	})
	return m
}

// controlGroup makes one for a machine.
func controlGroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if fields[2] != "cgroup2" {
			continue
		}
		dir, err := os.MkdirTemp(fields[1], "usher-packaging-") //nolint:usetesting // a control group is in cgroup2 or nowhere
		if err != nil {
			unavailable(t, err)
		}
		t.Cleanup(func() {
			eventually(t, "the machine's processes are gone", func() bool { return removeGroups(dir) == nil })
		})
		return dir
	}
	unavailable(t, errors.New("no cgroup2 is mounted"))
	return ""
}

// removeGroups removes a control group and those in it.
func removeGroups(dir string) error {
	var groups []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	for i := len(groups) - 1; i >= 0; i-- {
		if err := syscall.Rmdir(groups[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// try runs a program in the machine.
func (m *machine) try(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(m.init), "-m", "-p", "-u", "-i", "-C", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER="}
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// run runs one that has to succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s\n%s", strings.Join(args, " "), err, out, m.journal())
	}
	return out
}

// fails runs one that must not succeed.
func (m *machine) fails(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err == nil {
		m.t.Errorf("%s: succeeds: %s", strings.Join(args, " "), out)
	}
	return out
}

func (m *machine) journal() string {
	out, _ := m.try("journalctl", "--no-pager", "-n", "40", "-o", "cat")
	return out
}

// put writes a file in the machine.
func (m *machine) put(path, text string, mode fs.FileMode) {
	m.t.Helper()
	path = "/proc/" + strconv.Itoa(m.init) + "/root" + path
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// copy brings a file of this machine there.
func (m *machine) copy(from, to string, mode fs.FileMode) {
	m.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		m.t.Fatal(err)
	}
	m.put(to, string(data), mode)
}

// property is one of a unit's, as systemctl show says it.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return m.run("systemctl", "show", "--value", "-p", name, unit)
}

// eventually waits until done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
