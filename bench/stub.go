package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"usher.example/bench/gauge"
	"usher.example/bench/peers"
)

// startStub starts the back end as a process of its own and puts its addresses into
// the site. It ends with this process at the latest: its standard input is a pipe
// from here.
func startStub(site *peers.Site) (g *gauge.Group, err error) {
	g, err = gauge.NewGroup("sink")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the back end: %w", err), g.Kill())
		}
	}()
	cmd := exec.Command(site.Self, "sink", "--imap", "127.0.0.1:0", "--pop3", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	addrs, err := peers.StartChild(cmd, func() error { return g.Start(cmd) })
	if err != nil {
		return nil, err
	}
	if len(addrs) != 2 {
		return nil, fmt.Errorf("it serves %q, want IMAP and POP3", addrs)
	}
	site.SinkIMAP, site.SinkPOP3 = addrs[0], addrs[1]
	return g, nil
}

// buildUsher builds usher from the repository that this is run in.
func buildUsher(ctx context.Context, to string) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", to, "usher.example/cmd/usher")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build usher: %w; run this in its repository, or name a binary with --usher\n%s", err, out)
	}
	return nil
}

// usherCommit is what the binary says it was built from; empty if it does not.
func usherCommit(binary string) string {
	info, err := buildinfo.ReadFile(filepath.Clean(binary))
	if err != nil {
		return ""
	}
	commit, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	return commit + modified
}

// shortCommit is how much of a commit's name a version has.
const shortCommit = 12

// usherVersion is that of a binary, of which may be known what commit it was built
// from. The error is that there is none.
func usherVersion(binary, commit string) (string, error) {
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("version of usher: %w", err)
	}
	if name, more, _ := strings.Cut(commit, " "); name != "" {
		return strings.TrimSpace(name[:min(len(name), shortCommit)] + " " + more), nil
	}
	if info, err := buildinfo.ReadFile(filepath.Clean(binary)); err == nil && info.Main.Version != "" {
		return info.Main.Version, nil
	}
	return "unknown: the binary does not say", nil
}

// gitTime bounds how long git may look at a work tree.
const gitTime = 10 * time.Second

// headCommit is what the repository is at that usher was built from: Go does not
// write it into a binary that is built in a second work tree.
func headCommit(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, gitTime)
	defer cancel()
	head, err := exec.CommandContext(ctx, "git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(head))
}

// goVersion is what built this program, and usher with it.
func goVersion() string { return runtime.Version() }
