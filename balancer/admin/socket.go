package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// askTime bounds the question whether somebody answers on a socket.
	askTime = time.Second
	// listenTries bounds the races with others that listen there at the same
	// time.
	listenTries = 3
	// maxParent bounds the directory's name: the kernel allows a socket's path
	// 107 octets (unix(7)), and a directory of a random name comes between.
	maxParent = 107 - len("/.u4294967295/s")
)

// ErrInUse means that somebody answers on the socket.
var ErrInUse = errors.New("somebody answers there")

// Listen opens a unix socket at path, with that mode and, unless gid is
// negative, of that group. The mode is the access control, so the socket is
// made where nobody can reach it and appears at path only when it is complete.
// What is at path is replaced if it is a socket on which nobody answers, as a
// crash leaves it behind; otherwise that is an error, ErrInUse if somebody
// does. The directory is made if only it is missing. Closing the listener
// removes the socket, unless another one has taken its place.
func Listen(path string, mode fs.FileMode, gid int) (net.Listener, error) {
	l, err := openSocket(path, mode, gid)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func openSocket(path string, mode fs.FileMode, gid int) (*socket, error) {
	parent := filepath.Dir(path)
	if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if len(parent) > maxParent {
		return nil, fmt.Errorf("the directory's name is too long for a socket: %d octets, at most %d", len(parent), maxParent)
	}
	dir, err := os.MkdirTemp(parent, ".u") // 0700
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	made := filepath.Join(dir, "s")
	u, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	u.SetUnlinkOnClose(false)
	l := &socket{UnixListener: u, path: path}
	if err := l.publish(made, mode, gid); err != nil {
		_ = u.Close()
		return nil, err
	}
	return l, nil
}

// A socket is a unix socket under another name than it was bound to.
type socket struct {
	*net.UnixListener
	path string
	file fs.FileInfo
}

// publish gives the socket its owner and mode, and then its name.
func (l *socket) publish(made string, mode fs.FileMode, gid int) (err error) {
	if gid >= 0 {
		if err := os.Lchown(made, -1, gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(made, mode.Perm()); err != nil {
		return err
	}
	if l.file, err = os.Lstat(made); err != nil {
		return err
	}
	for range listenTries {
		// A hard link is the one way to take a name only if it is free.
		err = os.Link(made, l.path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := displace(l.path, made+"tale"); err != nil {
			return err
		}
	}
	return err
}

// displace frees path from a socket on which nobody answers. It is taken aside
// first and asked again there, so that the one removed is the one that was
// asked: between a question and a removal, another usher could have begun.
func displace(path, aside string) error {
	if err := askDead(path); err != nil {
		return gone(err)
	}
	if err := os.Rename(path, aside); err != nil {
		return gone(err)
	}
	if err := askDead(aside); err != nil {
		return errors.Join(err, os.Link(aside, path))
	}
	return os.Remove(aside)
}

// gone forgives that what was to be removed is not there any more.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// askDead returns nil if path is a socket on which nobody answers.
func askDead(path string) error {
	file, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if file.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something else than a socket; it is left alone")
	}
	c, err := net.DialTimeout("unix", path, askTime)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("%w: stop the usher that runs, or use another path", ErrInUse)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil
	}
	return err
}

// Addr is the path that clients use.
func (l *socket) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close stops listening and removes the socket if it is still ours.
func (l *socket) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}
