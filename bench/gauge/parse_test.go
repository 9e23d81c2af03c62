package gauge_test

import (
	"maps"
	"os"
	"slices"
	"testing"

	"usher.example/bench/gauge"
)

// What the parsers are fuzzed with, beside what this machine's files hold.
const (
	mountinfo = `35 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
36 25 0:31 /a /sys/fs/cgroup rw,nosuid shared:9 master:1 - cgroup2 cgroup2 rw
37 25 0:32 / /tmp rw - tmpfs tmpfs rw
`
	membership = "4:cpu,cpuacct:/a/b\n0::/a:c\n"
	rollup     = "55 - 7f [rollup]\nRss: 10 kB\nPss: 5 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 2 kB\nPrivate_Hugetlb: 4 kB\nSwap: 8 kB\n"
)

func TestParse(t *testing.T) {
	if got := gauge.ParseMounts([]byte(mountinfo)); !slices.Equal(got, []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"}) {
		t.Errorf("hierarchies at %q", got)
	}
	if got := gauge.ParseMembership([]byte(membership)); !maps.Equal(got, map[string]string{"cpu": "/a/b", "cpuacct": "/a/b", "": "/a:c"}) {
		t.Errorf("member of %q", got)
	}
	if got, want := gauge.ParseRollup([]byte(rollup)), (gauge.Memory{PSS: 5 << 10, Private: 7 << 10, RSS: 10 << 10}); got != want {
		t.Errorf("memory %v, want %v", got, want)
	}
	if got := gauge.ParseNumbers([]byte("a 1\nb c\nd 2 3\ne -4")); !maps.Equal(got, map[string]int64{"a": 1, "e": -4}) {
		t.Errorf("numbers %v", got)
	}
	// A program may be called anything.
	text := "7 (a) Z 1 (b)) S 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24\n"
	if parent, err := gauge.ParseStat([]byte(text)); parent != 5 || err != nil {
		t.Errorf("parent %d, %v", parent, err)
	}
}

func FuzzStat(f *testing.F) {
	seed(f, "/proc/self/stat", "1 (init) S 0 1 1 0")
	f.Fuzz(func(t *testing.T, text []byte) { _, _ = gauge.ParseStat(text) })
}

func FuzzRollup(f *testing.F) {
	seed(f, "/proc/self/smaps_rollup", rollup)
	f.Fuzz(func(t *testing.T, text []byte) { gauge.ParseRollup(text) })
}

func FuzzNumbers(f *testing.F) {
	seed(f, "/proc/vmstat", "usage_usec 1\n")
	f.Fuzz(func(t *testing.T, text []byte) { gauge.ParseNumbers(text) })
}

func FuzzMounts(f *testing.F) {
	seed(f, "/proc/self/mountinfo", mountinfo)
	f.Fuzz(func(t *testing.T, text []byte) {
		if slices.Contains(gauge.ParseMounts(text), "") {
			t.Error("a hierarchy is mounted nowhere")
		}
	})
}

func FuzzMembership(f *testing.F) {
	seed(f, "/proc/self/cgroup", membership)
	f.Fuzz(func(t *testing.T, text []byte) { gauge.ParseMembership(text) })
}

// seed adds a text and what a file of this machine holds.
func seed(f *testing.F, path, text string) {
	f.Helper()
	f.Add([]byte(text))
	if own, err := os.ReadFile(path); err == nil {
		f.Add(own)
	}
}
