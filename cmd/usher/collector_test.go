package main

import (
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"testing"
	"testing/fstest"
	"time"
)

func files(of map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range of {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestCgroupLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  uint64
	}{
		{"no control groups", nil, 0},
		{"version 2", map[string]string{
			"proc/self/cgroup": "0::/system.slice/usher.service\n",
			"sys/fs/cgroup/system.slice/usher.service/memory.max":  "536870912\n",
			"sys/fs/cgroup/system.slice/usher.service/memory.high": "max\n",
		}, 512 << 20},
		{"version 2: what slows down counts", map[string]string{
			"proc/self/cgroup":               "0::/u\n",
			"sys/fs/cgroup/u/memory.max":     "536870912\n",
			"sys/fs/cgroup/u/memory.high":    "268435456\n",
			"sys/fs/cgroup/memory.max":       "max\n",
			"sys/fs/cgroup/other/memory.max": "4096\n",
		}, 256 << 20},
		{"version 2: of the group above", map[string]string{
			"proc/self/cgroup":                   "0::/machine/u\n",
			"sys/fs/cgroup/machine/memory.max":   "1048576\n",
			"sys/fs/cgroup/machine/u/memory.max": "max\n",
		}, 1 << 20},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/c\n4:memory:/m\n0::/\n",
			"sys/fs/cgroup/memory/m/memory.limit_in_bytes": "1073741824\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712\n",
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes": "1\n",
		}, 1 << 30},
		{"version 1 in a container that sees its host's path", map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/0123\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "2097152\n",
		}, 2 << 20},
		{"a path out of the namespace", map[string]string{
			"proc/self/cgroup":           "0::/../u\n",
			"sys/fs/cgroup/u/memory.max": "4194304\n",
		}, 4 << 20},
		{"no number", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "much\n"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cgroupLimit(files(tt.files)); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// FuzzCgroupLimit holds that whatever the kernel says is no more than a number.
func FuzzCgroupLimit(f *testing.F) {
	f.Add("0::/system.slice/usher.service\n", "max\n")
	f.Add("4:memory:/../..\n0::/\n", "9223372036854771712")
	f.Add("::\n:memory\n", "-1")
	f.Fuzz(func(t *testing.T, groups, text string) {
		limit := cgroupLimit(files(map[string]string{
			"proc/self/cgroup": groups, "sys/fs/cgroup/memory.max": text, "sys/fs/cgroup/memory/memory.limit_in_bytes": text,
		}))
		if limit >= unlimited {
			t.Errorf("%d is no limit", limit)
		}
	})
}

// TestHeapLimit: half, but a small machine's heap is not held to less than usher needs.
func TestHeapLimit(t *testing.T) {
	for _, tt := range []struct{ memory, want uint64 }{
		{8 << 30, 4 << 30},
		{512 << 20, 256 << 20},
		{256 << 20, 128 << 20},
		{200 << 20, 128 << 20},
		{64 << 20, 48 << 20},
		{4, 3},
	} {
		if got := heapLimit(tt.memory); got != tt.want {
			t.Errorf("of %d: got %d, want %d", tt.memory, got, tt.want)
		}
	}
}

// percentInForce is what Go itself says.
func percentInForce() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}

// TestCollectorLimit holds that the heap is bounded by what there is.
func TestCollectorLimit(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	none := debug.SetMemoryLimit(-1)
	c, stop := collect(files(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "8589934592\n"}), 16<<30)
	defer stop()
	if c.Limit != 4<<30 || debug.SetMemoryLimit(-1) != 4<<30 {
		t.Errorf("the limit is %d, in force %d; want half of the group's", c.Limit, debug.SetMemoryLimit(-1))
	}
	if c.Percent != strconv.Itoa(mostPercent) {
		t.Errorf("reported are %q percent, want those it begins with", c.Percent)
	}
	stop()
	if l := debug.SetMemoryLimit(-1); l != none {
		t.Errorf("left behind: a limit of %d", l)
	}
}

// TestEnvironmentWins holds that what the operator says is left alone.
func TestEnvironmentWins(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77)) // as the runtime does by GOGC
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(3 << 30))
	t.Setenv("GOGC", "77")
	t.Setenv("GOMEMLIMIT", "3GiB")
	c, stop := collect(os.DirFS("/"), 1<<30)
	runtime.GC()
	if p, l := percentInForce(), debug.SetMemoryLimit(-1); p != 77 || l != 3<<30 {
		t.Errorf("got %d percent and a limit of %d", p, l)
	}
	if c.Percent != "77" || c.Limit != 3<<30 {
		t.Errorf("reported: %q, %d", c.Percent, c.Limit)
	}
	stop()
	if p, l := percentInForce(), debug.SetMemoryLimit(-1); p != 77 || l != 3<<30 {
		t.Errorf("after the end: %d percent and a limit of %d", p, l)
	}
}

// TestGrowth: however little lives, the heap may become some megabytes, and a large one grows
// as Go has it.
func TestGrowth(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		live, besides uint64
		want          int
	}{
		{0, 0, 200},
		{mib, mib, 200},
		{2 * mib, 2 * mib, 150},
		{2 * mib, 0, 200},
		{3 * mib, mib, 125},
		{4 * mib, 0, 100},
		{6 * mib, mib, 100},
		{8 * mib, 0, 100},
		{12 * mib, mib, 100},
		{1 << 40, mib, 100},
	} {
		if got := growth(tt.live, tt.besides); got != tt.want {
			t.Errorf("with %d live and %d besides: got %d, want %d", tt.live, tt.besides, got, tt.want)
		}
	}
}

// TestCollectorFollowsTheHeap holds that what lives decides, up and down, and that nothing of
// it is left behind.
func TestCollectorFollowsTheHeap(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "off")
	_, stop := collect(files(nil), 0)
	defer stop()
	// Other tests' parts may live as well: what is asked for follows what is found.
	found := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	await := func(what string, ok func(percent int) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; {
			runtime.GC()
			metrics.Read(found)
			want := growth(found[0].Value.Uint64(), found[1].Value.Uint64()+found[2].Value.Uint64())
			if p := percentInForce(); p == want && ok(p) {
				return
			} else if time.Now().After(end) {
				t.Fatalf("%s: %d percent, want %d", what, p, want)
			}
		}
	}
	much := make([]byte, 4*leastHeap)
	await("with much that lives", func(p int) bool { return p == leastPercent })
	runtime.KeepAlive(much)
	await("with little", func(p int) bool { return p > leastPercent })
	stop()
	much = make([]byte, 4*leastHeap)
	for range 3 { // a follower that goes on would follow
		ran := make(chan struct{})
		runtime.SetFinalizer(&struct{ p *int }{new(int)}, func(any) { close(ran) })
		runtime.GC()
		<-ran
	}
	runtime.KeepAlive(much)
	if p := percentInForce(); p != 77 {
		t.Errorf("after the end: %d percent, were 77", p)
	}
}
