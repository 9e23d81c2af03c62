package packaging_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// build builds a package of a version.
func build(t *testing.T, version string) string {
	t.Helper()
	cmd := exec.Command("./build", t.TempDir())
	cmd.Env = append(os.Environ(), "VERSION="+version)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// debian is a folder with a small Debian. It stays in the user's cache.
func debian(t *testing.T, suite string) string {
	t.Helper()
	need(t, "debootstrap")
	caches, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(caches, "usher-test-debian")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, suite)
	if _, err := os.Stat(target); err == nil {
		return target
	}
	mirrors, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian").Output()
	mirror, _, _ := strings.Cut(string(mirrors), "\n")
	if err != nil || mirror == "" {
		mirror = "http://deb.debian.org/debian"
	}
	fresh := target + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv", suite, fresh, mirror).CombinedOutput(); err != nil {
		unavailable(t, errors.Join(err, errors.New(string(out))))
	}
	if err := os.Rename(fresh, target); err != nil {
		t.Fatal(err)
	}
	return target
}

// TestRepeatable wants the same bytes from other folders with nothing cached.
func TestRepeatable(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, compiles everything twice: USHER_LONG=1")
	}
	one, err := os.ReadFile(build(t, "1.0"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	if out, err := exec.Command("git", "clone", "-q", "../..", elsewhere).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	cmd := exec.Command(filepath.Join(elsewhere, "cmd/packaging/build"), t.TempDir())
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "VERSION=1.0", "GOCACHE="+t.TempDir(), "TMPDIR="+t.TempDir(), "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(two) {
		t.Errorf("two packages of one commit differ: %d and %d bytes (commit first)", len(one), len(two))
	}
}

func TestLintian(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, builds a package: USHER_LONG=1")
	}
	need(t, "lintian")
	out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error", build(t, "1.0")).CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%s", out)
}

// TestPackage has the life of a package on Debian 12 and 13: installed, configured,
// upgraded, removed, purged, under the systemd that they have.
func TestPackage(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, fetches a Debian: USHER_LONG=1")
	}
	old, recent := build(t, "0.9"), build(t, "1.0")
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			m := boot(t, debian(t, suite))
			t.Log(strings.SplitN(m.run("systemctl", "--version"), "\n", 2)[0])
			m.copy(old, "/root/old.deb", 0o644)
			m.copy(recent, "/root/new.deb", 0o644)
			life(t, m)
		})
	}
}

// files lists what there is, but for what dpkg, systemd and their like keep.
func (m *machine) files() string {
	m.t.Helper()
	return m.run("sh", "-c", `find / -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /var/lib/systemd -o -path /var/cache -o -path /mnt -o -path /root -o -path /var/tmp \
		-o -name 'passwd*' -o -name 'group*' -o -name 'shadow*' -o -name 'gshadow*' -o -name .pwd.lock -o -name '.updated' \) -prune -o -print | sort; id usher 2>&1 || true`)
}

func life(t *testing.T, m *machine) {
	before := m.files()
	active := func() string { return m.property("usher", "ActiveState") }

	// Installed: nothing runs, nothing will at the next boot.
	m.run("dpkg", "-i", "/root/old.deb")
	if got := m.run("usher", "--version"); !strings.Contains(got, "0.9") {
		t.Errorf("version: %s", got)
	}
	if got := active(); got != "inactive" {
		t.Errorf("an unconfigured usher is %s", got)
	}
	if got := m.fails("systemctl", "is-enabled", "usher"); got != "disabled" {
		t.Errorf("an unconfigured usher is %s", got)
	}
	if got := m.fails("runuser", "-u", "usher", "--", "usher", "check"); !strings.Contains(got, "/etc/usher/usher.toml:") || !strings.Contains(got, "mail.pem") {
		t.Errorf("unconfigured: usher check says %s", got)
	}
	m.fails("systemctl", "start", "usher")
	m.run("systemctl", "stop", "usher")
	if got := m.run("dpkg", "--verify", "usher"); got != "" {
		t.Errorf("dpkg --verify: %s", got)
	}

	// Configured, and under load of one.
	d := site(t, m)
	m.run("systemctl", "enable", "--now", "usher")
	works(t, m, d)

	// Upgraded: a new process, the configuration as it was.
	pid := m.property("usher", "MainPID")
	m.run("dpkg", "-i", "--force-confold", "/root/new.deb")
	if got := m.property("usher", "MainPID"); got == pid || active() != "active" {
		t.Errorf("after the upgrade: process %s, before %s, %s", got, pid, active())
	}
	if got := m.run("usher", "--version"); !strings.Contains(got, "1.0") {
		t.Errorf("version: %s", got)
	}
	if got := m.run("cat", "/etc/usher/usher.toml"); got != strings.TrimSpace(d.config) {
		t.Errorf("the configuration has changed:\n%s", got)
	}
	d.login()

	// A configuration that the new version does not take: what runs goes on.
	pid = m.property("usher", "MainPID")
	m.put("/etc/usher/usher.toml", d.config+"nonsense = 1\n", 0o644)
	said := m.run("dpkg", "-i", "--force-confold", "/root/new.deb")
	if got := m.property("usher", "MainPID"); got != pid || !strings.Contains(said, "goes on as it was") {
		t.Errorf("upgrade with a bad configuration: process %s, before %s:\n%s", got, pid, said)
	}
	m.put("/etc/usher/usher.toml", d.config, 0o644)

	// An administrator who forbids it has nothing restarted.
	m.put("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
	m.run("chmod", "755", "/usr/sbin/policy-rc.d")
	m.run("dpkg", "-i", "--force-confold", "/root/new.deb")
	if got := m.property("usher", "MainPID"); got != pid {
		t.Errorf("restarted against policy-rc.d: process %s, before %s", got, pid)
	}
	m.run("rm", "/usr/sbin/policy-rc.d")
	m.run("dpkg", "-i", "--force-confold", "/root/new.deb")
	if got := m.property("usher", "MainPID"); got == pid || active() != "active" {
		t.Errorf("not restarted: process %s, %s", got, active())
	}

	// Removed: the state is still there, and comes back to life.
	m.run("dpkg", "-r", "usher")
	m.run("test", "-e", "/var/lib/usher/seal.key")
	m.run("test", "-e", "/etc/usher/usher.toml")
	m.fails("test", "-e", "/usr/bin/usher")
	if _, err := m.try("pidof", "usher"); err == nil {
		t.Error("usher runs and is removed")
	}
	m.run("dpkg", "-i", "/root/new.deb")
	if got := m.run("systemctl", "is-enabled", "usher"); got != "enabled" {
		t.Errorf("installed again it is %s", got)
	}
	m.run("systemctl", "start", "usher")
	d.login()

	// Purged: as if it had never been.
	m.run("dpkg", "-P", "usher")
	if after := m.files(); after != before {
		t.Errorf("left over: %s", difference(before, after))
	}
}

// difference is the lines that only one of two lists has.
func difference(before, after string) string {
	var b strings.Builder
	for _, way := range []struct{ sign, in, notIn string }{{"-", before, after}, {"+", after, before}} {
		for line := range strings.Lines(way.in + "\n") {
			if !strings.Contains("\n"+way.notIn+"\n", "\n"+line) {
				fmt.Fprintf(&b, "\n%s %s", way.sign, strings.TrimSpace(line))
			}
		}
	}
	return b.String()
}
