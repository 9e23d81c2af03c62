package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An apt reads one suite of the mirror that this machine uses, with lists and a
// cache of its own: the machine's are neither changed nor relied upon, so that
// it works for any user.
type apt struct {
	dir  string
	conf string
}

// aptConfig keeps a machine's settings, such as a proxy, but for what would
// touch its own state or choose among versions. Its cleaning hooks would empty
// a cache that is not ours. Verification needs no other user: everything lies
// in a folder of our own.
const aptConfig = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Default-Release;
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "%[1]s/state";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
`

// keyrings hold Debian's keys where their package has put them. Without either
// apt asks its own trusted keys.
var keyrings = []string{
	"/usr/share/keyrings/debian-archive-keyring.pgp",
	"/usr/share/keyrings/debian-archive-keyring.gpg",
}

// openApt reads the lists of a suite into a folder.
func openApt(ctx context.Context, dir, suite string) (*apt, error) {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	options := "target=Packages arch=amd64"
	if i := slices.IndexFunc(keyrings, exists); i >= 0 {
		options += " signed-by=" + keyrings[i]
	}
	a := &apt{dir: dir, conf: filepath.Join(dir, "apt.conf")}
	for name, text := range map[string]string{
		"apt.conf":     fmt.Sprintf(aptConfig, dir),
		"sources.list": fmt.Sprintf("deb [%s] %s %s main\n", options, mirror, suite),
		"status":       "", // nothing is installed
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	_, err = a.run(ctx, "apt-get", "-q", "update")
	return a, err
}

// debianMirror asks apt where this machine gets Debian from.
func debianMirror(ctx context.Context) (string, error) {
	out, err := output(exec.CommandContext(ctx, "apt-get", "indextargets",
		"--format", "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)", "Created-By: Packages"))
	if err != nil {
		return "", err
	}
	return chooseMirror(out)
}

// chooseMirror takes the first repository that is signed as Debian's main one;
// if lists have never been fetched and none is known to be, one that is called
// like it.
func chooseMirror(targets string) (string, error) {
	var named string
	for line := range strings.Lines(targets) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		uri := fields[len(fields)-1]
		if slices.Equal(fields[:len(fields)-1], []string{"Debian", "Debian"}) {
			return uri, nil
		}
		if named == "" && strings.HasSuffix(strings.TrimSuffix(uri, "/"), "/debian") {
			named = uri
		}
	}
	if named == "" {
		return "", fmt.Errorf("apt gets Debian from nowhere on this machine")
	}
	return named, nil
}

// A stanza is a package as the lists describe it.
type stanza struct {
	name, version string
	depends       []string // the first of alternatives, without versions
}

// show describes the newest version of a package in the suite.
func (a *apt) show(ctx context.Context, name string) (stanza, error) {
	out, err := a.run(ctx, "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return stanza{}, err
	}
	return parseStanza(out), nil
}

func parseStanza(text string) stanza {
	var s stanza
	for line := range strings.Lines(text) {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch field {
		case "Package":
			s.name = value
		case "Version":
			s.version = value
		case "Depends":
			for clause := range strings.SplitSeq(value, ",") {
				if words := strings.Fields(clause); len(words) > 0 {
					s.depends = append(s.depends, words[0])
				}
			}
		}
	}
	return s
}

// kernelPart matches what a kernel is made of. Up to 6.x its image package
// holds all; from 7.x on that is empty and depends on a binary and modules.
var kernelPart = regexp.MustCompile(`^linux-(image|binary|modules)-`)

// parts returns a package and the parts of a kernel that it depends on, directly
// or not. Other packages only matter to who installs it.
func (a *apt) parts(ctx context.Context, name string) ([]stanza, error) {
	var found []stanza
	queue, seen := []string{name}, map[string]bool{name: true}
	for ; len(queue) > 0; queue = queue[1:] {
		s, err := a.show(ctx, queue[0])
		if err != nil {
			return nil, err
		}
		found = append(found, s)
		for _, dep := range s.depends {
			if kernelPart.MatchString(dep) && !seen[dep] {
				seen[dep] = true
				queue = append(queue, dep)
			}
		}
	}
	return found, nil
}

// download fetches packages, which apt verifies, and returns their paths.
func (a *apt) download(ctx context.Context, packages []stanza) ([]string, error) {
	args := []string{"-q", "download"}
	for _, p := range packages {
		args = append(args, p.name+"="+p.version)
	}
	if _, err := a.run(ctx, "apt-get", args...); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(a.dir, "*.deb"))
}

func (a *apt) run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-c", a.conf}, args...)...)
	cmd.Dir = a.dir
	return output(cmd)
}

// output runs a command and returns what it printed. Apt's own processes end
// with it when it is asked to end, not when it is killed.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
