package packaging_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// exposed is how much of the system the units may be able to reach, as systemd-analyze
// security counts, times ten. What is left is the network, which is what usher is for.
const exposed = "15"

func TestExposure(t *testing.T) {
	need(t, "systemd-analyze")
	for _, unit := range []string{"usher.service", "usher-witness.service"} {
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+exposed, "systemd/"+unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
	}
}

// TestProc: the units let usher read what is in /proc beside processes. Go listens with a
// backlog of 128 where it cannot read somaxconn, and without /proc/stat nobody can tell
// when the process has started: process_start_time_seconds is missing, and the alert
// UsherRestarting never fires.
func TestProc(t *testing.T) {
	for _, unit := range []string{"usher.service", "usher-witness.service"} {
		text, err := os.ReadFile("systemd/" + unit)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nProcSubset=pid") {
			t.Errorf("%s has ProcSubset=pid", unit)
		}
	}
}

// A door is where clients of an usher in a machine come in.
type door struct {
	t      *testing.T
	addr   string // with TLS, to a back end with TLS
	plain  string // without, to one without
	http   string // metrics
	roots  *tls.Config
	config string
}

// free is a port that nobody has.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// site writes a configuration for one back end into a machine.
func site(t *testing.T, m *machine) *door {
	t.Helper()
	mail := dovecot.Start(t, dovecot.Options{})
	authority := dovecot.NewAuthority(t)
	d := &door{
		t: t, addr: free(t), plain: free(t), http: free(t),
		roots: &tls.Config{RootCAs: authority.Pool, ServerName: "localhost"},
	}
	cert, key := authority.WriteFiles(t, authority.Server(t, "localhost"))
	m.copy(cert, "/etc/usher/mail.pem", 0o644)
	m.copy(key, "/etc/usher/mail.key", 0o640)
	m.copy(mail.Authority.File, "/etc/usher/backends.pem", 0o644)
	m.run("chgrp", "usher", "/etc/usher/mail.key")
	host, backend, err := net.SplitHostPort(mail.ProxyIMAP)
	if err != nil {
		t.Fatal(err)
	}
	d.config = fmt.Sprintf(`hostname = "localhost"
drain = "2s"
[admin]
http = %[4]q
[[certificate]]
cert_file = "mail.pem"
key_file = "mail.key"
[[listener]]
name = "imaps"
address = %[1]q
protocol = "imap"
pool = "main"
[[listener]]
name = "plain"
address = %[5]q
protocol = "imap"
tls = "none"
plaintext_login = true
pool = "plain"
[[pool]]
name = "plain"
storage = "shared"
tls = "none"
client_address = "proxy2"
[[pool.backend]]
name = "one"
host = %[2]q
imap_port = %[3]s
[[pool]]
name = "main"
storage = "shared"
tls_ca_file = "backends.pem"
client_address = "proxy2"
[[pool.backend]]
name = "one"
host = %[2]q
imap_port = %[3]s
`, d.addr, host, backend, d.http, d.plain)
	m.put("/etc/usher/usher.toml", d.config, 0o644)
	return d
}

// login logs in; the connection stays.
func (d *door) login() *tls.Conn {
	d.t.Helper()
	c, err := tls.Dial("tcp", d.addr, d.roots)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	d.say(c, "a LOGIN joe "+dovecot.DefaultPassword, "a OK")
	return c
}

// splices logs in without TLS, and wants the kernel to have moved what came after.
func (d *door) splices() {
	d.t.Helper()
	c, err := net.Dial("tcp", d.plain)
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	d.say(c, "a LOGIN ann "+dovecot.DefaultPassword, "a OK")
	// More than usher reads and writes as a dialogue.
	d.say(c, strings.Repeat("b NOOP\r\n", 2<<10), "b OK")
	d.say(c, "c LOGOUT", "c OK")
	eventually(d.t, "spliced octets are counted", func() bool {
		return regexp.MustCompile(`(?m)^usher_spliced_bytes_total [1-9]`).MatchString(d.metrics())
	})
}

// backlog wants as many connections to wait for accept as the kernel lets.
func (d *door) backlog() {
	d.t.Helper()
	need(d.t, "ss")
	_, port, err := net.SplitHostPort(d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := exec.Command("ss", "--no-header", "-ltn", "sport = :"+port).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	most, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		d.t.Fatal(err)
	}
	want := strings.TrimSpace(string(most))
	if fields := strings.Fields(string(out)); len(fields) < 3 || fields[2] != want { // of a listener, Send-Q is its bound
		d.t.Errorf("the kernel lets %s connections wait, and ss says %s", want, out)
	}
}

func (d *door) metrics() string {
	d.t.Helper()
	answer, err := http.Get("http://" + d.http + "/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// say sends a command and reads until its answer.
func (d *door) say(c net.Conn, command, want string) {
	d.t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		d.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		d.t.Fatal(err)
	}
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), want) {
		n, err := c.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			d.t.Fatalf("%s: got %q, %v, want %q", command, got.String(), err, want)
		}
	}
}

// TestUnit has a real systemd run usher by its unit, with all of its locks, and a user
// log in at a real Dovecot; then a reload, a bad one, a stop.
func TestUnit(t *testing.T) {
	dovecot.Require(t)
	m := installed(t)
	if out := m.run("systemd-analyze", "verify", "--man=no", "usher.service", "usher-witness.service"); strings.Contains(out, "usher") {
		t.Errorf("systemd-analyze verify says %s", out)
	}
	d := site(t, m)
	m.run("systemctl", "start", "usher")
	works(t, m, d)

	m.run("systemctl", "stop", "usher")
	if got := m.property("usher", "Result"); got != "success" {
		t.Errorf("after a stop: result %s\n%s", got, m.journal())
	}
	for _, path := range []string{"/var/lib/usher", "/etc/usher"} {
		t.Log(m.run("stat", "-c", "%n %U:%G %a", path))
	}
}

// installed is a machine over the files of this one with usher and its units.
func installed(t *testing.T) *machine {
	t.Helper()
	m := boot(t, "/")
	m.copy(filepath.Join(usher(t), "usher"), "/usr/bin/usher", 0o755)
	for _, unit := range []string{"usher.service", "usher-witness.service"} {
		m.copy("systemd/"+unit, "/etc/systemd/system/"+unit, 0o644)
	}
	m.copy("systemd/usher.sysusers", "/usr/lib/sysusers.d/usher.conf", 0o644)
	m.run("systemd-sysusers", "usher.conf")
	m.run("systemctl", "daemon-reload")
	return m
}

// works holds a service that has just been started to what its unit promises.
func works(t *testing.T, m *machine, d *door) {
	t.Helper()
	session := d.login()
	d.splices()
	d.backlog()
	if text := d.metrics(); !regexp.MustCompile(`(?m)^process_start_time_seconds [1-9]`).MatchString(text) {
		t.Errorf("the metrics have no start time:\n%s", text)
	}
	pid := m.property("usher", "MainPID")
	status := m.run("cat", "/proc/"+pid+"/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000400", "CapBnd:\t0000000000000400"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in its status:\n%s", want, status)
		}
	}
	if got := m.run("stat", "-c", "%U", "/proc/"+pid); got != "usher" {
		t.Errorf("usher runs as %s", got)
	}
	if got := m.run("usher", "status"); !strings.Contains(got, "one") {
		t.Errorf("usher status says %s", got)
	}
	m.run("systemctl", "reload", "usher")
	m.put("/etc/usher/usher.toml", d.config+"nonsense = 1\n", 0o644)
	m.fails("systemctl", "reload", "usher")
	m.put("/etc/usher/usher.toml", d.config, 0o644)
	if got := m.property("usher", "MainPID"); got != pid || m.property("usher", "ActiveState") != "active" {
		t.Errorf("a bad reload: pid %s, before %s, %s", got, pid, m.property("usher", "ActiveState"))
	}
	d.say(session, "b NOOP", "b OK")
	for _, bad := range []string{"operation not permitted", "panic", "level=ERROR"} {
		if log := m.run("journalctl", "--no-pager", "-u", "usher", "-o", "cat"); strings.Contains(log, bad) {
			t.Errorf("the journal has %q:\n%s", bad, log)
		}
	}
}

func long() bool { return os.Getenv("USHER_LONG") != "" }
