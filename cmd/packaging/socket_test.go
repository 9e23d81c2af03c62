package packaging_test

import (
	"net"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// TestSocket has systemd open usher's port: usher needs no right to, and who comes while
// it is restarted waits.
func TestSocket(t *testing.T) {
	dovecot.Require(t)
	m := installed(t)
	d := site(t, m)
	m.put("/etc/systemd/system/usher.socket", "[Socket]\nListenStream="+d.addr+"\nService=usher.service\n", 0o644)
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "start", "usher.socket")
	d.login() // starts it
	first := m.property("usher", "MainPID")
	m.run("systemctl", "kill", "--signal=KILL", "usher") // and systemd starts it again
	d.login()
	if got := m.property("usher", "MainPID"); got == first {
		t.Error("the same process has served after its death")
	}
	removal(t, m, d)
}

// removal runs what a removal of the package does first: who connects then does not have
// usher started again.
func removal(t *testing.T, m *machine, d *door) {
	t.Helper()
	if _, err := m.try("sh", "-c", "command -v deb-systemd-invoke"); err != nil {
		t.Skip("SKIPPED in part, this is not Debian: there is no deb-systemd-invoke")
	}
	m.run("rm", "-f", "/usr/sbin/policy-rc.d") // of this machine: forbids that too
	m.copy("debian/prerm", "/root/prerm", 0o755)
	m.run("/root/prerm", "remove")
	if c, err := net.Dial("tcp", d.addr); err == nil {
		c.Close()
		t.Error("the port is open after a removal")
	}
	for _, unit := range []string{"usher.socket", "usher.service"} {
		if got := m.property(unit, "ActiveState"); got != "inactive" {
			t.Errorf("%s is %s after a removal", unit, got)
		}
	}
}
