package main

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
)

// serviceUser is whom the package has usher run as. A variable, so that a test can take
// somebody who is there.
var serviceUser = "usher"

// handOver has usher be able to read a secret that root has just made: without it the next
// reload, and the next start, would fail of a file that was made as the manual says. Where
// there is no such user, or who made the file is not root, the file is left as it is, and
// who made it is told what is left to do if usher runs as another. A directory is opened
// as far as it needs to be for what is in it.
func handOver(path string, note io.Writer) error {
	u, err := user.Lookup(serviceUser)
	if err != nil {
		return nil //nolint:nilerr // usher runs as somebody else here, as who has set it up knows
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return fmt.Errorf("the group of %s: %w", serviceUser, err)
	}
	if strconv.Itoa(os.Geteuid()) == u.Uid {
		return nil // it is his
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	mode := os.FileMode(0o640)
	if info, err := f.Stat(); err == nil && info.IsDir() {
		mode = 0o750
	}
	err = f.Chown(-1, gid)
	if err == nil {
		err = f.Chmod(mode) // not before: no other group may read it
	}
	if err != nil {
		fmt.Fprintf(note, "usher: usher cannot read %s where it runs as the user %s: as root, chgrp %s %s && chmod %04o %s\n", path, serviceUser, serviceUser, path, mode, path)
	}
	return nil
}
