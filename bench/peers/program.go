package peers

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// beyond is where Debian has daemons, which is not in everybody's PATH.
var beyond = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// find is the path of a program.
func find(name, debian string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range beyond {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	if err != nil {
		return "", fmt.Errorf("%s is missing: install Debian's package %s (make bench-setup)", name, debian)
	}
	return path, nil
}

// versionTime is how long a program may take to say which it is.
const versionTime = 10 * time.Second

// say is what a program says, on both of its outputs, until it ends.
func say(limit time.Duration, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second // a child of it may have the pipe
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no end within %s: %w", limit, err)
	}
	return out, err
}

// versionOf is the first line that holds want among what a program says to an
// argument.
func versionOf(name, debian, want string, args ...string) (string, error) {
	path, err := find(name, debian)
	if err != nil {
		return "", err
	}
	out, err := say(versionTime, path, args...)
	for line := range strings.Lines(string(out)) {
		if _, version, ok := strings.Cut(line, want); ok {
			version, _, _ = strings.Cut(strings.TrimSpace(version), " ")
			return version, nil
		}
	}
	if err == nil {
		err = errors.New("it does not say")
	}
	return "", fmt.Errorf("version of %s: %w", path, err)
}

// whoami is who runs this, for programs that want names to give up root for.
func whoami() (name, group string, err error) {
	me, err := user.Current()
	if err != nil {
		return "", "", err
	}
	mine, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return "", "", err
	}
	return me.Username, mine.Name, nil
}
