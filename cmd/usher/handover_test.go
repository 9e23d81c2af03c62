package main

import (
	"bytes"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestHandOver: what root makes as the manual says can be read by the user whom the package
// runs usher as, and by nobody else.
func TestHandOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	was := serviceUser
	serviceUser = "nobody"
	t.Cleanup(func() { serviceUser = was })
	dir := t.TempDir()
	tokens, secret, lab := filepath.Join(dir, "tokens"), filepath.Join(dir, "secret"), filepath.Join(dir, "lab")
	for _, args := range [][]string{
		{"admin", "token", "ann", "--file", tokens},
		{"fleet", "secret", secret},
		{"cert", "lab", lab, "--name", "mail.example.org"},
	} {
		if out, status, err := run(t, args...); status != 0 {
			t.Fatalf("%q: got %d, %v: %s", args, status, err, out)
		}
	}
	look := func(path string, mode os.FileMode, group int) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != mode || int(st.Gid) != group || st.Uid != 0 {
			t.Errorf("%s: got %v of %d:%d, want %v of 0:%d", path, info.Mode(), st.Uid, st.Gid, mode, group)
		}
	}
	look(tokens, 0o640, gid)
	look(secret, 0o640, gid)
	look(lab, 0o750, gid)
	look(filepath.Join(lab, "mail.example.org.key"), 0o640, gid)
	look(filepath.Join(lab, "ca.key"), 0o600, 0)

	// What is there already is as somebody wanted it.
	if err := os.Chmod(tokens, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status, err := run(t, "admin", "token", "bob", "--file", tokens); status != 0 {
		t.Fatalf("got %d, %v: %s", status, err, out)
	}
	look(tokens, 0o600, gid)
}

// TestHandOverNeedsRoot: who cannot give a file to usher is told what to do.
func TestHandOverNeedsRoot(t *testing.T) {
	was := serviceUser
	serviceUser = "nobody"
	t.Cleanup(func() { serviceUser = was })
	if _, err := user.Lookup(serviceUser); err != nil || os.Geteuid() == 0 {
		t.Skip("needs another than root")
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var note bytes.Buffer
	if err := handOver(file, &note); err != nil || !strings.Contains(note.String(), "chgrp nobody "+file) {
		t.Errorf("got %v: %s", err, &note)
	}
}
