package guest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// xstateSource is a library that has user-mode-linux run on processors with more registers
// than it knows, see there.
//
//go:embed testdata/xstate.c
var xstateSource []byte

// amx is a processor's flag in /proc/cpuinfo: it has tile registers of 8 KiB.
var amx = regexp.MustCompile(`(?m)^flags\s*:.*\bamx_tile\b`)

// wide says whether this machine's processors have more registers than user-mode-linux
// 6.1 has room for.
func wide() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && amx.Match(info)
}

// buildXstate compiles the library into a folder, and returns its path.
func buildXstate(dir string) (string, error) {
	source, library := filepath.Join(dir, "xstate.c"), filepath.Join(dir, "xstate.so")
	if err := os.WriteFile(source, xstateSource, 0o600); err != nil {
		return "", err
	}
	if text, err := exec.Command("cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile what user-mode-linux needs on this processor: %w\n%s", err, text)
	}
	return library, nil
}
