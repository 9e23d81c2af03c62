package guest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// A tree is a guest's root folder: path, without the slash that it begins
// with, to file. Folders that only hold others need not be named.
type tree map[string]file

// A file is a regular file with data, or with those of a file of this machine;
// a folder; or a character device.
type file struct {
	from         string // a path of this machine; empty means data
	data         []byte
	mode         fs.FileMode
	major, minor uint32 // of a device
}

func (t tree) add(other tree) { maps.Copy(t, other) }

// paths lists all files and folders, each folder before what is in it.
func (t tree) paths() []string {
	all := map[string]bool{}
	for name := range t {
		for ; name != "."; name = path.Dir(name) {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// at returns what a path of the tree is.
func (t tree) at(name string) file {
	f, ok := t[name]
	if !ok {
		return file{mode: fs.ModeDir | 0o755}
	}
	return f
}

// content returns a regular file's data.
func (f file) content() ([]byte, error) {
	if f.from == "" {
		return f.data, nil
	}
	return os.ReadFile(f.from)
}

// writeDir makes a folder of this machine the tree. Devices are left out: they
// are root's to make.
func (t tree) writeDir(root string) error {
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	for _, name := range t.paths() {
		f := t.at(name)
		if err := f.writeTo(filepath.Join(root, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("make the guest's root: %w", err)
		}
	}
	return nil
}

func (f file) writeTo(target string) error {
	switch {
	case f.mode.IsDir():
		return os.Mkdir(target, f.mode.Perm())
	case !f.mode.IsRegular():
		return nil
	}
	data, err := f.content()
	if err != nil {
		return err
	}
	return os.WriteFile(target, data, f.mode.Perm())
}

// writeArchive writes the tree as what Linux unpacks when it boots.
func (t tree) writeArchive(w io.Writer) error {
	a := newArchive(w)
	for _, name := range t.paths() {
		if err := a.add(name, t.at(name)); err != nil {
			return fmt.Errorf("make the guest's initramfs: %w", err)
		}
	}
	return a.close()
}
