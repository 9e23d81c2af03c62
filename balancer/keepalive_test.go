package balancer_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// keepAliveTimers counts the established sockets of the kernel's table that
// have one of the ports and a keepalive timer (timer kind 2; proc(5), tcp.txt).
func keepAliveTimers(t *testing.T, ports []int) int {
	t.Helper()
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Skipf("SKIPPED, no table of sockets: %v", err)
	}
	count := 0
	for line := range strings.SplitSeq(string(table), "\n") {
		f := strings.Fields(line)
		if len(f) < 6 || f[3] != "01" {
			continue
		}
		has := slices.ContainsFunc(ports, func(p int) bool {
			suffix := fmt.Sprintf(":%04X", p)
			return strings.HasSuffix(f[1], suffix) || strings.HasSuffix(f[2], suffix)
		})
		kind, _, _ := strings.Cut(f[5], ":")
		if n, err := strconv.Atoi(kind); has && err == nil && n == 2 {
			count++
		}
	}
	return count
}
