package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"usher.example/balancer/admin"
)

// An exportFile is one of those that are written.
type exportFile struct {
	path, content string
	mode          fs.FileMode
	temp          string // where it is before it takes its name
}

// An exporting writes the files of a certificate.
type exporting struct {
	dir   string
	force bool
	link  func(old, name string) error // os.Link
}

// write makes the files appear, each whole and with its mode. All are written before
// the first appears, and the key does first: who sees the certificate finds its key.
// It returns the paths of those that are there. If ctx ends before, nothing is left.
func (w exporting) write(ctx context.Context, name string, e *admin.CertificateExported) (done []string, err error) {
	if name == "" {
		return nil, errors.New("the certificate has no name to call its files by; use --out -")
	}
	stem := filepath.Join(w.dir, name)
	chain := stem + ".chain.pem"
	files := []exportFile{{path: stem + ".key", content: e.Key, mode: 0o600}, {path: stem + ".pem", content: e.Certificate + e.Chain, mode: 0o644}}
	paths := []string{stem + ".key", stem + ".pem", chain}
	if e.Chain != "" {
		files = append(files, exportFile{path: chain, content: e.Chain, mode: 0o644})
	}
	for _, path := range paths {
		if _, err := os.Lstat(path); !w.force && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is there already, and nothing was written; use --force to replace it, or --out with another folder", safe(path))
		}
	}
	defer func() {
		for _, f := range files {
			if f.temp != "" {
				_ = os.Remove(f.temp) // is gone if it was renamed
			}
		}
		if err != nil && !w.force {
			for _, path := range done { // they were not there before
				_ = os.Remove(path)
			}
			done = nil
		}
	}()
	for i := range files {
		if err := files[i].prepare(w.dir); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, &exitError{exitTemporary, errors.New("interrupted: nothing was written")}
		}
	}
	for _, f := range files {
		if err := w.place(f); err != nil {
			return done, err
		}
		done = append(done, f.path)
	}
	if e.Chain == "" && w.force { // the one of the certificate before
		if err := os.Remove(chain); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return done, err
		}
	}
	return done, nil
}

// prepare writes the file under another name.
func (f *exportFile) prepare(dir string) error {
	temp, err := os.CreateTemp(dir, ".usher-export-") // of mode 0600
	if err != nil {
		return err
	}
	f.temp = temp.Name()
	_, err = temp.WriteString(f.content)
	return errors.Join(err, temp.Chmod(f.mode), temp.Close())
}

// place gives the file its name. A hard link is the one way to take a name only if it
// is free and with all that belongs to it; where a file system has none the name comes
// first.
func (w exporting) place(f exportFile) error {
	if w.force {
		return os.Rename(f.temp, f.path)
	}
	err := w.link(f.temp, f.path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(f.content)
	if err = errors.Join(err, file.Chmod(f.mode), file.Close()); err != nil {
		_ = os.Remove(f.path)
	}
	return err
}
