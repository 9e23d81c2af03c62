package packaging_test

import (
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
	m.run("systemctl", "stop", "usher.socket", "usher")
}
