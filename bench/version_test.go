package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/bench/peers"
)

// TestUsherVersion: the version is that of the binary, whatever the sources are that
// the benchmark is run in.
func TestUsherVersion(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	targets := peers.All()
	measured(targets, script, "0123456789abcdef0123456789abcdef01234567 with changes")
	for _, p := range targets[:2] {
		if got, err := p.Version(); got != "0123456789ab with changes" || err != nil {
			t.Errorf("version of %s is %q, %v", p.Name, got, err)
		}
	}
	measured(targets, script, "")
	if got, err := targets[0].Version(); !strings.HasPrefix(got, "unknown") || err != nil {
		t.Errorf("of a binary that does not say it is %q, %v", got, err)
	}
	measured(targets, filepath.Join(dir, "none"), "0123")
	if got, err := targets[0].Version(); err == nil {
		t.Errorf("a binary that is not there has version %q", got)
	}
}
