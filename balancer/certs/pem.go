package certs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxPEM bounds a file, in octets: the bundle of all public CAs has a quarter of
// it.
const maxPEM = 1 << 20

// readPEM reads a file of at most maxPEM octets. It does not wait for the other
// end of a pipe. Errors name the file, and who usher is where it may not read.
func readPEM(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, denied(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%s has more than %d octets: want certificates and a key, PEM", path, maxPEM)
	}
	return data, nil
}

// denied says whom to let read.
func denied(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("read %s: %w", path, unwrapPath(err))
	}
	uid := strconv.Itoa(os.Geteuid())
	name := "uid " + uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	return fmt.Errorf("read %s: usher runs as %s, who may not: let him, by group or setfacl -m u:%s:r, and him pass its folders: %w", path, name, uid, unwrapPath(err))
}

// unwrapPath leaves out the path, which is told already.
func unwrapPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
