package certs

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A desk keeps what files had in them, so that looking again costs nothing but
// asking whether they have changed: a key of RSA takes milliseconds to parse,
// and a directory may have thousands.
type desk struct {
	now           time.Time
	seen, was     map[string]seen
	pairs, joined map[joint]pair // of files that have not changed, as newPair made them
}

// A joint is what a pair was made of: places in what the desk keeps of two files, which
// stay for as long as the files do.
type joint struct {
	leaf *x509.Certificate
	key  *crypto.Signer
	slot string
}

// A seen is a file as it was.
type seen struct {
	mark     mark
	contents contents
	err      error
}

// A mark tells versions of a file apart.
type mark struct {
	device, inode uint64
	size          int64
	modified      syscall.Timespec
	changed       syscall.Timespec
}

// settled is how long after a change a mark can be trusted: a clock tick of the
// kernel's is some milliseconds, of some network file systems a second.
const settled = 3 * time.Second

// open begins a look. What it does not read is forgotten with the next.
func (d *desk) open(now time.Time) *desk {
	d.now, d.was, d.seen = now, d.seen, make(map[string]seen, len(d.seen))
	d.joined, d.pairs = d.pairs, make(map[joint]pair, len(d.pairs))
	return d
}

// read returns what a file has in it.
func (d *desk) read(path string) (contents, error) {
	m, ok := markOf(path)
	if s, known := d.was[path]; known && ok && s.mark == m {
		d.seen[path] = s
		return s.contents, s.err
	}
	data, err := readPEM(path)
	var c contents
	if err == nil {
		if c, err = parse(data); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		clear(data) // a key may be in it
	}
	if age := d.now.Sub(time.Unix(m.changed.Unix())); ok && age > settled && err == nil {
		d.seen[path] = seen{m, c, err}
	}
	return c, err
}

// pair is [newPair], which checks the signatures of a chain, done once for each version
// of the two files. The key is a place in the contents of its file.
func (d *desk) pair(slot, certFile, keyFile string, certs []*x509.Certificate, key *crypto.Signer) (*pair, error) {
	j := joint{certs[0], key, slot}
	p, ok := d.joined[j]
	if !ok {
		made, err := newPair(slot, certFile, keyFile, certs, *key)
		if err != nil {
			return nil, err
		}
		p = *made
	}
	d.pairs[j] = p
	return &p, nil // a copy: what is said of it depends on those beside it
}

func markOf(path string) (mark, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return mark{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return mark{}, false
	}
	return mark{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, true
}

// maxLinks is Linux's bound for links in a path.
const maxLinks = 40

// folders are the directories in which a change can change what path leads to:
// the one that has the file, and those that have links on the way, which certbot
// and Kubernetes exchange. Of what is not there it is the nearest one that is.
func folders(path string) []string {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var found []string
	dir, rest := "/", strings.Split(strings.Trim(path, "/"), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		full := filepath.Join(dir, name)
		info, err := os.Lstat(full)
		switch {
		case err != nil:
			return append(found, dir)
		case info.Mode()&os.ModeSymlink != 0:
			found = append(found, dir)
			target, err := os.Readlink(full)
			if links++; err != nil || links > maxLinks {
				return found
			}
			if filepath.IsAbs(target) {
				dir = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		case len(rest) == 0:
			return append(found, dir)
		}
		dir = full
	}
	return append(found, dir)
}
