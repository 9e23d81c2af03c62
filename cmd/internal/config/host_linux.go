package config

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mayBind reports whether the kernel lets this process listen on port. If it
// does not tell, the answer is yes: a warning should be true.
func mayBind(port int) bool {
	first := 1024 // ip(7), ip_unprivileged_port_start
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			first = n
		}
	}
	if port >= first {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // version 3 has 64 bits
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return true
	}
	return sets[0].Effective&(1<<unix.CAP_NET_BIND_SERVICE) != 0
}

// descriptors is how many this process may open. Go raises the soft limit to
// the hard one at start, so the hard one counts.
func descriptors() (limit uint64, ok bool) {
	var rl unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
		return 0, false
	}
	return rl.Max, true
}
