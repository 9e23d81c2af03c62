package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A directory is what a node is: its id, the life that it had last, its log. One
// process has it at a time. Without a path it is in memory, and a new one with each
// start.
type directory struct {
	path string
	id   string
	lock *os.File
	lone []Secret // see openSealing
}

// ErrStateInUse: another process has the state directory.
var ErrStateInUse = errors.New("another usher has it: each needs a state directory of its own")

// openDirectory opens or makes the state directory.
func openDirectory(path string) (*directory, error) {
	if path == "" {
		return &directory{id: newID()}, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrStateInUse
		}
		return nil, fmt.Errorf("state directory %s: %w", path, err)
	}
	d := &directory{path: path, lock: lock}
	if d.id, err = d.identify(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return d, nil
}

func (d *directory) close() {
	if d.lock != nil {
		_ = d.lock.Close()
	}
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// identify reads the directory's id, or gives it one.
func (d *directory) identify() (string, error) {
	text, err := os.ReadFile(filepath.Join(d.path, "id"))
	if err == nil {
		if id := strings.TrimSpace(string(text)); len(id) == 16 {
			return id, nil
		}
		return "", fmt.Errorf("state directory: %s is damaged; move the directory away, and the node joins anew", filepath.Join(d.path, "id"))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("state directory: %w", err)
	}
	id := newID()
	return id, d.write("id", id+"\n")
}

// life reads the life that was kept last, 0 if there was none.
func (d *directory) life() (uint64, error) {
	if d.path == "" {
		return 0, nil
	}
	text, err := os.ReadFile(filepath.Join(d.path, "life"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("state directory: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("state directory: %s is damaged; move the directory away, and the node joins anew", filepath.Join(d.path, "life"))
	}
	return n, nil
}

func (d *directory) keepLife(life uint64) error {
	if d.path == "" {
		return nil
	}
	return d.write("life", strconv.FormatUint(life, 10)+"\n")
}

// write replaces a file so that after a crash it is the old or the new one.
func (d *directory) write(name, text string) error {
	path := filepath.Join(d.path, name)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(d.path)
	}
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
