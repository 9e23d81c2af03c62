package guest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
)

// A bundle holds what a guest needs out of a kernel's packages: the kernel, and
// the modules by their names, packed as they were.
type bundle struct {
	image   []byte
	modules map[string]packedModule
}

// A packedModule is a module's file. It may be compressed, as its name says.
type packedModule struct {
	path string
	data []byte
}

// moduleDirs are where the parts of kernel TLS lie below "kernel/". The other
// modules, a hundred times as many, need not be looked at.
var moduleDirs = []string{"/crypto/", "/lib/", "/net/tls/"}

// read takes what is of use out of a package, which is not installed.
func (b *bundle) read(ctx context.Context, deb string) (err error) {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpack %s: %w", path.Base(deb), err)
	}
	err = b.readTar(stdout)
	_, drained := io.Copy(io.Discard, stdout) // else dpkg-deb would complain
	if err := errors.Join(err, drained, cmd.Wait()); err != nil {
		return fmt.Errorf("unpack %s: %w\n%s", path.Base(deb), err, stderr.Bytes())
	}
	return nil
}

func (b *bundle) readTar(r io.Reader) error {
	files := tar.NewReader(r)
	for {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case header.Typeflag != tar.TypeReg:
			continue
		}
		base := path.Base(header.Name)
		module, isModule := moduleName(header.Name)
		switch {
		case base == "linux.uml" || base == "vmlinuz" || strings.HasPrefix(base, "vmlinuz-"):
			if b.image, err = io.ReadAll(files); err != nil {
				return err
			}
		case isModule:
			data, err := io.ReadAll(files)
			if err != nil {
				return err
			}
			b.modules[module] = packedModule{path: header.Name, data: data}
		}
	}
}

// moduleName returns the name by which the kernel knows the module in a file,
// if it may be part of kernel TLS.
func moduleName(file string) (string, bool) {
	_, below, ok := strings.Cut(file, "/kernel/")
	base, rest, isModule := strings.Cut(path.Base(file), ".ko")
	if !ok || !isModule || strings.Contains(rest, "/") {
		return "", false
	}
	for _, dir := range moduleDirs {
		if strings.Contains("/"+below, dir) {
			return canonical(base), true
		}
	}
	return "", false
}

// canonical spells a module's name as the kernel does; a file's may have dashes.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }
