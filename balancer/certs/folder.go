package certs

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// maxFolders bounds the sub-directories that are looked at and watched: a
	// user may have 8192 watches where memory is short (inotify(7)).
	maxFolders = 4096

	// maxFiles bounds the files: ACME clients keep up to five for a name.
	maxFiles = 5 * maxFolders

	// maxPairs bounds the certificates: with 10 KiB each it is 40 MiB.
	maxPairs = 4096
)

// endings are the names under which ACME clients and people keep PEM.
var endings = []string{".pem", ".crt", ".cer", ".cert", ".key"}

// A folderReader reads a directory and its sub-directories, one level down. What
// belongs together is told by what is in the files, not by their names, so that
// the ways of certbot, acme.sh, lego, dehydrated and Kubernetes all are right:
// within a folder each leaf has the key that fits it, and the longest chain of
// those beside it. CAs and keys that fit nothing, such as those of ACME accounts,
// are passed over, and names that begin with a dot.
type folderReader struct {
	root  string
	shelf desk
}

func (r *folderReader) read(now time.Time) reading {
	d := r.shelf.open(now)
	out := reading{folders: append(folders(r.root), folders(filepath.Join(r.root, "."))...)}
	files := 0
	subs, err := r.folder(d, r.root, &out, &files, now)
	if len(subs) > maxFolders {
		err = errors.Join(err, fmt.Errorf("%s has more than %d directories in it: the others are not looked at", r.root, maxFolders))
		subs = subs[:maxFolders]
	}
	for _, sub := range subs {
		if _, err := r.folder(d, sub, &out, &files, now); err != nil {
			out.troubles = append(out.troubles, trouble{sub, sub, err})
		}
	}
	if len(out.pairs) > maxPairs {
		err = errors.Join(err, fmt.Errorf("%s has %d certificates: at most %d are shown", r.root, len(out.pairs), maxPairs))
		out.pairs = out.pairs[:maxPairs]
	}
	if err == nil && len(out.pairs) == 0 && len(out.troubles) == 0 {
		err = fmt.Errorf("%s: no certificate with its key in it, nor one directory down: want PEM files that end in %s", r.root, strings.Join(endings, ", "))
	}
	if err != nil {
		out.troubles = append(out.troubles, trouble{r.root, r.root, err})
	}
	return out
}

// A find is a file with certificates.
type find struct {
	file  string
	certs []*x509.Certificate
}

// A keyFind is a key and the file that it is in.
type keyFind struct {
	file string
	key  *crypto.Signer // in the desk
}

// keyID tells public keys apart.
func keyID(public any) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	return string(der)
}

// folder reads the files of one directory and returns its sub-directories.
func (r *folderReader) folder(d *desk, dir string, out *reading, files *int, now time.Time) (subs []string, err error) {
	entries, err := list(dir)
	if err != nil {
		return nil, err
	}
	out.folders = append(out.folders, folders(filepath.Join(dir, "."))...)
	var finds []find
	keys := make(map[string]keyFind)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil || strings.HasPrefix(e.Name(), ".") {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				out.troubles = append(out.troubles, trouble{dir, path, denied(path, err)})
			}
			continue
		}
		if e.Type()&fs.ModeSymlink != 0 {
			out.folders = append(out.folders, folders(path)...)
		}
		if info.IsDir() {
			subs = append(subs, path)
			continue
		}
		if !slices.Contains(endings, strings.ToLower(filepath.Ext(path))) {
			continue
		}
		if *files++; *files > maxFiles {
			return subs, fmt.Errorf("%s has more than %d files: the others are not looked at", r.root, maxFiles)
		}
		c, err := d.read(path)
		if err != nil {
			out.troubles = append(out.troubles, trouble{dir, path, err})
			continue
		}
		if len(c.certs) > 0 {
			finds = append(finds, find{path, c.certs})
		}
		for i, k := range c.keys {
			if id := keyID(k.Public()); keys[id].key == nil {
				keys[id] = keyFind{path, &c.keys[i]}
			}
		}
	}
	pairs, troubles := match(d, dir, finds, keys)
	out.pairs = append(out.pairs, newest(pairs, now)...)
	out.troubles = append(out.troubles, troubles...)
	return subs, nil
}

// list is what a directory has in it, sorted, within bounds.
func list(dir string) ([]fs.DirEntry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, denied(dir, err)
	}
	defer f.Close()
	entries, err := f.ReadDir(maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", dir, unwrapPath(err))
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("%s has more than %d files: is it the right directory?", dir, maxFiles)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// match joins the certificates of a folder with their keys.
func match(d *desk, dir string, finds []find, keys map[string]keyFind) ([]*pair, []trouble) {
	longest := make(map[string]*pair) // by fingerprint
	var pairs []*pair
	var orphans []find
	var troubles []trouble
	for _, f := range finds {
		leaf := f.certs[0]
		if leaf.IsCA && len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
			continue // no server's, though a laboratory may have its key here
		}
		k := keys[keyID(leaf.PublicKey)]
		if k.key == nil {
			if !leaf.IsCA {
				orphans = append(orphans, f)
			}
			continue
		}
		p, err := d.pair(dir, f.file, k.file, f.certs, k.key)
		if err != nil {
			troubles = append(troubles, trouble{dir, f.file, err})
			continue
		}
		was := longest[p.status.Fingerprint]
		switch {
		case was == nil:
			pairs = append(pairs, p)
			longest[p.status.Fingerprint] = p
		case len(p.cert.Certificate) > len(was.cert.Certificate):
			*was = *p
		}
	}
	named := byName(pairs)
	for _, f := range orphans {
		leaf := f.certs[0]
		old := slices.ContainsFunc(named.sharing(leaf), func(p *pair) bool { return !leaf.NotBefore.After(p.leaf().NotBefore) })
		if !old { // else it is one of last year's
			troubles = append(troubles, trouble{dir, f.file, fmt.Errorf("%s: its key is not in %s: is it yet to come?", f.file, dir)})
		}
	}
	return pairs, troubles
}

// newest leaves out what a newer certificate of the same folder does as well, as
// those that dehydrated and others keep of years before.
func newest(pairs []*pair, now time.Time) []*pair {
	named := byName(pairs)
	return slices.DeleteFunc(slices.Clone(pairs), func(p *pair) bool {
		return slices.ContainsFunc(named.sharing(p.leaf()), func(o *pair) bool {
			return o.leaf().NotBefore.After(p.leaf().NotBefore) && o.stands(p) && coversAll(names(o.leaf()), names(p.leaf())) &&
				(current(o.leaf(), now) || !current(p.leaf(), now))
		})
	})
}

// A register has pairs by each of their names: comparing all with all would take
// seconds where there are thousands.
type register map[string][]*pair

func byName(pairs []*pair) register {
	r := make(register)
	for _, p := range pairs {
		for _, n := range subjects(p.leaf()) {
			r[n] = append(r[n], p)
		}
	}
	return r
}

// sharing are the pairs that have a name of the leaf's, or the wildcard for one.
func (r register) sharing(leaf *x509.Certificate) []*pair {
	var found []*pair
	for _, n := range subjects(leaf) {
		found = append(found, r[n]...)
		if up := parent(n); up != "" && n[0] != '*' {
			found = append(found, r["*"+up]...)
		}
	}
	return found
}
