package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// A machine is a computer of the manual: this one's system with a systemd, a network, a
// name, processes and a disk of its own, so that commands are run as they are printed.
// What is written to its disk is in memory and goes with it.
type machine struct {
	name, address string
	pid           int // of its systemd, as this process sees it
}

// sharedMail is a directory that all machines have together, as by NFS.
const sharedMail = "/srv/mail"

// A laboratory is the machines of a page.
type laboratory struct {
	t        testing.TB
	machines map[string]*machine
	order    []string
	dir      string // with the package, and what machines share
}

// bootScript boots a systemd over this system's files; furnish is what is done to these
// before, in the folder that will be their root.
const (
	bootScript = "../packaging/testdata/boot"
	furnish    = `mount -t tmpfs -o mode=0700 tmpfs root
mkdir -p srv/mail && mount --bind "$SHARED/mail" srv/mail
rm -rf var/lib/apt/lists # apt is quicker without
cp "$SHARED/hosts" etc/hosts
cp "$SHARED"/*.deb root/
echo "$MACHINE" >etc/hostname
`
)

// newLaboratory makes the machines of pages, in a network namespace that the test's
// process is in already.
func newLaboratory(t *testing.T, pages []*page) *laboratory {
	t.Helper()
	var names, addresses []string
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n")
	for _, p := range pages {
		n, a := p.hosts()
		names, addresses = append(names, n...), append(addresses, a...)
		for _, b := range p.blocks {
			if b.language == "hosts" {
				hosts.WriteString(strings.Join(p.lines[b.first:b.last], "\n") + "\n")
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s has no block of hosts", pages[0].name)
	}
	l := &laboratory{t: t, machines: map[string]*machine{}, order: names, dir: t.TempDir()}
	mail := filepath.Join(l.dir, "mail")
	if err := os.Mkdir(mail, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mail, 0o777); err != nil {
		t.Fatal(err)
	}
	l.put("hosts", hosts.String(), 0o644)
	l.put("furnish", furnish, 0o644)
	deb, err := debianPackage()
	if err != nil {
		t.Fatal(err)
	}
	runs(t, "cp", deb, filepath.Join(l.dir, "usher_"+manualVersion+"-1_"+runtime.GOARCH+".deb"))
	ip(t, "link", "set", "lo", "up")
	ip(t, "link", "add", "name", "lab0", "type", "bridge")
	ip(t, "link", "set", "lab0", "up")
	for i, name := range names {
		l.machines[name] = l.machine(name, addresses[i], i)
	}
	for _, m := range l.machines { // which have been booting side by side
		eventually(t, m.name+" is up", func() bool {
			_, status := m.run(t, "systemctl is-active test.target")
			return status == 0
		})
	}
	return l
}

func (l *laboratory) put(name, text string, mode os.FileMode) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), mode); err != nil {
		l.t.Fatal(err)
	}
}

// machine starts one and puts it on the network.
func (l *laboratory) machine(name, address string, i int) *machine {
	t := l.t
	t.Helper()
	disk := filepath.Join(l.dir, name)
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	group := controlGroup(t)
	var said bytes.Buffer
	cmd := exec.Command("unshare", "--net", "--", bootScript, "/", disk, group)
	cmd.Env = append(os.Environ(), "BEFORE="+filepath.Join(l.dir, "furnish"), "SHARED="+l.dir, "MACHINE="+name)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the machine
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its systemd goes with it, and all else with that
		<-ended
	})
	pid := 0
	eventually(t, name+" has a systemd", func() bool {
		select {
		case err := <-ended:
			ended <- err
			cannot(t, "make the machine %s: %v\n%s", name, err, said.String())
		default:
		}
		child, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		if err != nil {
			return false
		}
		pid, _ = strconv.Atoi(strings.TrimSpace(string(child)))
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return err == nil && strings.TrimSpace(string(comm)) == "systemd"
	})
	m := &machine{name: name, address: address, pid: pid}
	link := fmt.Sprintf("lab%d", i+1)
	ip(t, "link", "add", "name", link, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid))
	ip(t, "link", "set", link, "master", "lab0", "up")
	for _, c := range []string{"ip link set lo up", "ip address add " + address + "/24 dev eth0", "ip link set eth0 up"} {
		if out, status := m.run(t, c); status != 0 {
			t.Fatalf("%s on %s: %s", c, name, out)
		}
	}
	return m
}

// cannot skips a test that this computer cannot run, unless it must.
func cannot(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf("SKIPPED, cannot "+format, args...)
}

// commandTime bounds what one command of the manual takes.
const commandTime = time.Minute

// run runs a command as somebody does who is logged in as root.
func (m *machine) run(t testing.TB, text string) (output string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	defer cancel()
	out, err := os.CreateTemp(t.TempDir(), "out") // a file, as what runs in the background keeps it
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, "nsenter", "--target="+strconv.Itoa(m.pid), "--net", "--mount", "--uts", "--pid", "--ipc", "--cgroup", "--root", "--wd", "--",
		"bash", "-c", "cd /root\n"+text)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TZ=UTC", "DEBIAN_FRONTEND=noninteractive"}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s# %s: %v", m.name, text, errors.Join(err, ctx.Err()))
	}
	printed, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(printed), cmd.ProcessState.ExitCode()
}

// carry does what scp FILE... HOST:PATH would: no machine has an SSH server.
func (l *laboratory) carry(from *machine, text string) (output string, status int) {
	l.t.Helper()
	args := strings.Fields(text)[1:]
	host, path, _ := strings.Cut(args[len(args)-1], ":")
	to := l.machines[host]
	if to == nil {
		l.t.Fatalf("there is no machine for: %s", text)
	}
	aside := filepath.Join(sharedMail, ".carried") // all have that directory
	for _, step := range []struct {
		m    *machine
		text string
	}{
		{from, "mkdir " + aside + " && cp " + strings.Join(args[:len(args)-1], " ") + " " + aside},
		{to, "cp " + aside + "/* " + path},
		{from, "rm -r " + aside},
	} {
		if output, status = step.m.run(l.t, step.text); status != 0 {
			return output, status
		}
	}
	return "", 0
}

// needsOfManual ends the test unless what the manual uses is here.
func needsOfManual(t testing.TB) {
	t.Helper()
	dovecot.Require(t, "ip", "unshare", "nsenter", "openssl", "curl", "dpkg-deb", "apt-get", "systemctl")
}
