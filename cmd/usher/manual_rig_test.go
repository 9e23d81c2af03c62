package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// A machine is a computer of the manual: this one's system with a network, a name,
// processes and a disk of its own, so that commands are run as they are printed. What
// is written to its disk is in memory and goes with it. It has no systemd: systemctl
// is the script below.
type machine struct {
	name, address string
	pid           int // of its init, as this process sees it
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

// boot makes a machine's disk and runs its init. $1 is an empty directory, $2 the name,
// $3 the directory with what machines share.
const boot = `set -e
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount --rbind /dev dev
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=0700 tmpfs root
mkdir -p srv/mail && mount --bind "$3/mail" srv/mail
rm -rf etc/usher var/lib/usher var/lib/apt/lists # of others; apt is quicker without
cp "$3/hosts" etc/hosts
cp "$3/systemctl" usr/bin/systemctl
cp "$3"/*.deb root/
hostname "$2"
exec chroot . sh -c 'mount -t proc proc /proc && ip link set lo up && echo up && sleep infinity & wait'
`

// systemctl does what the units of usher and Dovecot would have systemd do.
const systemctl = `#!/bin/sh
# start|stop|restart|reload|is-active|enable [--now] [--no-block] usher|dovecot
verb=$1; shift
[ "$1" = --now ] && { shift; verb=start; }
[ "$1" = --no-block ] && { shift; block=no; }
unit=${1%.service}
pid() { cat /run/$unit.pid 2>/dev/null; }
alive() { p=$(pid) && [ -n "$p" ] && kill -0 "$p" 2>/dev/null && ! grep -qs '^State:.Z' "/proc/$p/status"; }
gone() { while alive; do sleep 0.02; done; }
start() {
	case $unit in
	usher)
		install -d -o usher -g usher -m 0755 /run/usher && install -d -o usher -g usher -m 0700 /var/lib/usher
		runuser -u usher -- usher check >/dev/null 2>>/var/log/usher.log || { echo "Job for usher.service failed." >&2; exit 1; }
		touch /var/log/usher.log
		before=$(wc -l </var/log/usher.log)
		STATE_DIRECTORY=/var/lib/usher setsid setpriv --reuid=usher --regid=usher --init-groups \
			--inh-caps=+net_bind_service --ambient-caps=+net_bind_service usher serve >>/var/log/usher.log 2>&1 </dev/null &
		echo $! >/run/usher.pid
		until [ "$block" = no ] || tail -n +$((before + 1)) /var/log/usher.log | grep -q 'usher is ready'; do
			alive || { echo "Job for usher.service failed." >&2; exit 1; }
			sleep 0.02
		done ;;
	dovecot)
		setsid dovecot -F >/dev/null 2>&1 </dev/null &
		echo $! >/run/dovecot.pid
		until doveadm who >/dev/null 2>&1; do sleep 0.02; done ;;
	esac
}
case $verb in
start) alive || start ;;
stop) p=$(pid); alive && kill "$p"; gone ;;
restart) p=$(pid); alive && kill "$p"; gone; start ;;
reload) kill -HUP "$(pid)" ;;
is-active) if alive; then echo active; else echo inactive; exit 3; fi ;;
esac
exit 0
`

// newLaboratory makes the machines of a page, in a network namespace that the test's
// process is in already.
func newLaboratory(t *testing.T, p *page) *laboratory {
	t.Helper()
	names, addresses := p.hosts()
	if len(names) == 0 {
		t.Fatalf("%s has no block of hosts", p.name)
	}
	l := &laboratory{t: t, machines: map[string]*machine{}, order: names, dir: t.TempDir()}
	mail := filepath.Join(l.dir, "mail")
	if err := os.Mkdir(mail, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mail, 0o777); err != nil {
		t.Fatal(err)
	}
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n")
	for _, b := range p.blocks {
		if b.language == "hosts" {
			hosts.WriteString(strings.Join(p.lines[b.first:b.last], "\n") + "\n")
		}
	}
	l.put("hosts", hosts.String(), 0o644)
	l.put("systemctl", systemctl, 0o755)
	l.debianPackage()
	ip(t, "link", "set", "lo", "up")
	ip(t, "link", "add", "name", "lab0", "type", "bridge")
	ip(t, "link", "set", "lab0", "up")
	for i, name := range names {
		l.machines[name] = l.machine(name, addresses[i], i)
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
	said, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd := exec.Command("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--", "sh", "-c", boot, "boot", disk, name, l.dir)
	var wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = write, &wrong
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its init goes with it, and all else with that
		_ = cmd.Wait()
	})
	up := make([]byte, 3)
	if _, err := said.Read(up); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		cannot(t, "make the machine %s: %s", name, wrong.String())
	}
	child, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(child)))
	if err != nil {
		t.Fatalf("the init of %s: %v", name, err)
	}
	m := &machine{name: name, address: address, pid: pid}
	link := fmt.Sprintf("lab%d", i+1)
	ip(t, "link", "add", "name", link, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid))
	ip(t, "link", "set", link, "master", "lab0", "up")
	for _, c := range []string{"ip address add " + address + "/24 dev eth0", "ip link set eth0 up"} {
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
	cmd := exec.CommandContext(ctx, "nsenter", "--target="+strconv.Itoa(m.pid), "--net", "--mount", "--uts", "--pid", "--root", "--wd", "--",
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

// debianPackage makes the package that the manual installs: the program and its user.
func (l *laboratory) debianPackage() {
	t := l.t
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(l.dir, "package")
	for _, dir := range []string{"DEBIAN", "usr/bin", "etc/usher"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	runs(t, "cp", binary, filepath.Join(root, "usr/bin/usher"))
	runs(t, "chmod", "0755", root, filepath.Join(root, "usr/bin/usher"))
	l.put("package/DEBIAN/control", "Package: usher\nVersion: 0.0.1\nArchitecture: all\nMaintainer: usher <root@localhost>\n"+
		"Description: a mail load balancer\n", 0o644)
	l.put("package/DEBIAN/postinst", "#!/bin/sh\nid usher >/dev/null 2>&1 || useradd --system --home-dir /var/lib/usher --no-create-home usher\n", 0o755)
	runs(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", root, filepath.Join(l.dir, "usher_0.0.1_amd64.deb"))
	runs(t, "rm", "-r", root)
}

// needsOfManual ends the test unless what the manual uses is here.
func needsOfManual(t testing.TB) {
	t.Helper()
	dovecot.Require(t, "ip", "unshare", "nsenter", "openssl", "curl", "dpkg-deb", "apt-get")
}
