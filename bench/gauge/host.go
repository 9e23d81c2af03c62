package gauge

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Machine is what figures depend on and a reader has to know. What cannot be
// told is empty.
type Machine struct {
	CPU          string // model
	Cores        int    // processors that this process may use
	Kernel       string // release
	Architecture string // as Go names it
	Memory       int64  // octets
	Distribution string
	Accounting   string // how groups are measured
}

// Host says what machine this is.
func Host() Machine {
	m := Machine{Cores: runtime.NumCPU(), Architecture: runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = string(u.Release[:max(0, bytes.IndexByte(u.Release[:], 0))])
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = field(text, "model name", ":")
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _, _ := strings.Cut(field(text, "MemTotal", ":"), " ")
		if n, err := strconv.ParseInt(kib, 10, 64); err == nil {
			m.Memory = n << 10
		}
	}
	if text, err := os.ReadFile("/etc/os-release"); err == nil {
		m.Distribution = strings.Trim(field(text, "PRETTY_NAME", "="), `"`)
	}
	if g, err := NewGroup("host"); err == nil {
		m.Accounting = g.way.what()
		_ = g.Kill()
	}
	return m
}

// field is the value in the first line that has the name.
func field(text []byte, name, separator string) string {
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, separator)
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
