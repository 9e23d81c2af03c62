package packaging_test

import "testing"

// TestRouteService: what announces the route goes with BIRD and comes with it, also when
// BIRD dies. Something that only lives stands for BIRD and for the script, which have a
// test of their own.
func TestRouteService(t *testing.T) {
	m := boot(t, "/")
	m.put("/etc/systemd/system/bird.service", "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=100ms\n[Install]\nWantedBy=multi-user.target\n", 0o644)
	m.put("/usr/local/sbin/usher-route.sh", "#!/bin/sh\nexec sleep infinity\n", 0o755)
	m.run("chmod", "755", "/usr/local/sbin/usher-route.sh")
	m.copy("../../docs/examples/usher-route.service", "/etc/systemd/system/usher-route.service", 0o644)
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "enable", "bird", "usher-route")
	m.run("systemctl", "start", "bird")
	active := func() bool { return m.property("usher-route", "ActiveState") == "active" }
	eventually(t, "it comes with BIRD", active)
	for _, do := range [][]string{{"kill", "--signal=KILL", "bird"}, {"restart", "bird"}} {
		first := m.property("usher-route", "MainPID")
		m.run(append([]string{"systemctl"}, do...)...)
		eventually(t, "it comes again", func() bool {
			pid := m.property("usher-route", "MainPID")
			return active() && pid != first && pid != "0"
		})
	}
	m.run("systemctl", "stop", "bird")
	eventually(t, "it goes with BIRD", func() bool { return m.property("usher-route", "ActiveState") == "inactive" })
}
