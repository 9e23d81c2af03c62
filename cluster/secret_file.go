package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The marks of the versions in a secret file, as comments above them.
const (
	markUsed   = "# in use"
	markComing = "# coming: accepted, not used yet"
	markGoing  = "# going: still accepted, used no more"
)

// A RotateStep is one of the three in which a secret is exchanged. All nodes have
// to have done one before any does the next: then whatever one seals, or shows as
// its certificate, is known to all others.
//
//	{old}  --add-->  {old, new}  --promote-->  {new, old}  --drop-->  {new}
//	 uses old         uses old                  uses new             uses new
type RotateStep string

// The steps.
const (
	RotateAdd     RotateStep = "add"
	RotatePromote RotateStep = "promote"
	RotateDrop    RotateStep = "drop"
)

// CreateSecretFile makes a file with a new secret, which only its owner can read.
// It overwrites nothing.
func CreateSecretFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("fleet secret: %s exists, and is left alone: nodes that have it would not know a new one; --rotate exchanges it", path)
	}
	if err != nil {
		return fmt.Errorf("fleet secret: %w", err)
	}
	_, err = f.WriteString(secretText([]Secret{NewSecret()}, markComing))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("fleet secret: %w", err)
	}
	return nil
}

// RotateSecretFile takes one step. It refuses one that does not follow on the last.
func RotateSecretFile(path string, step RotateStep) error {
	list, err := ReadSecrets(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("fleet secret: %w", err)
	}
	promoted := strings.Contains(string(text), markGoing)
	clear(text)
	mark := markComing
	switch n := len(list); {
	case step == RotateAdd && n == 1:
		list = append(list, NewSecret())
	case step == RotatePromote && n == 2 && !promoted:
		list[0], list[1], mark = list[1], list[0], markGoing
	case step == RotateDrop && n == 2 && promoted:
		list = list[:1]
	case n == 1:
		return fmt.Errorf("fleet secret: %s has one version, so the next step is add, not %s", path, step)
	case n > 2:
		return fmt.Errorf("fleet secret: %s has %d versions; leave the one in use and one other there", path, n)
	case promoted:
		return fmt.Errorf("fleet secret: in %s the new version is in use, so the next step is drop, not %s", path, step)
	default:
		return fmt.Errorf("fleet secret: in %s the new version is not in use yet, so the next step is promote, not %s", path, step)
	}
	if err := replaceSecrets(path, secretText(list, mark)); err != nil {
		return fmt.Errorf("fleet secret: %w", err)
	}
	return nil
}

// secretText is a secret file: the first is in use, others bear the mark.
func secretText(list []Secret, mark string) string {
	var b strings.Builder
	b.WriteString("# The secret of a fleet of ushers. Who has it is one of them.\n")
	for i, s := range list {
		if i == 0 {
			b.WriteString(markUsed + "\n")
		} else {
			b.WriteString(mark + "\n")
		}
		b.WriteString(s.Text() + "\n")
	}
	return b.String()
}

// replaceSecrets writes a file anew, with its old mode and owner: after a crash it
// is the old or the new one.
func replaceSecrets(path, text string) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		err = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
