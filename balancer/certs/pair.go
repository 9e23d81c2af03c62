package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// A pair is a certificate with its key, from a slot: the file or folder whose
// next certificate takes its place.
type pair struct {
	cert   *tls.Certificate
	status Status // but Listeners
	slot   string
}

func (p *pair) leaf() *x509.Certificate { return p.cert.Leaf }

// newPair makes a pair of a leaf with what follows it in its file, and its key.
func newPair(slot, certFile, keyFile string, certs []*x509.Certificate, key crypto.Signer) (*pair, error) {
	chain, strangers := order(certs)
	if len(chain) > maxChain {
		return nil, fmt.Errorf("%s: a chain of %d certificates: want at most %d", certFile, len(chain), maxChain)
	}
	p := &pair{cert: joined(chain, key), slot: slot, status: describe(chain)}
	p.status.Source, p.status.From = "file", certFile
	switch open := exposed(keyFile); {
	case len(strangers) > 0:
		p.status.Problem = fmt.Sprintf("%s: %q in it has signed no other certificate there, so it is not sent: put the leaf first, then the CAs up to the root",
			certFile, strangers[0].Subject)
	case open != "":
		p.status.Problem = open
	}
	return p, nil
}

// exposed says that others can read a key; empty if not.
func exposed(keyFile string) string {
	const others = 0o006 // read, write
	info, err := os.Stat(keyFile)
	if err != nil || info.Mode().Perm()&others == 0 {
		return ""
	}
	return fmt.Sprintf("%s has mode %04o, so others can read the key: chmod o= %s", keyFile, info.Mode().Perm(), keyFile)
}

// stands reports whether p is in o's place: its file, or its folder and then with
// the same kind of key.
func (p *pair) stands(o *pair) bool {
	return p.slot == o.slot && (p.slot == p.status.From || p.leaf().PublicKeyAlgorithm == o.leaf().PublicKeyAlgorithm)
}

// at is where a pair is, for maps.
func (p *pair) at() string { return p.status.Fingerprint + p.slot }

// A pairReader reads one certificate and its key, which may be in one file.
type pairReader struct {
	certFile, keyFile string
	shelf             desk
}

func (r *pairReader) read(now time.Time) reading {
	d := r.shelf.open(now)
	out := reading{folders: append(folders(r.certFile), folders(r.keyFile)...)}
	p, err := r.pair(d)
	if err != nil {
		out.troubles = []trouble{{slot: r.certFile, file: r.certFile, err: err}}
	} else {
		out.pairs = []*pair{p}
	}
	return out
}

func (r *pairReader) pair(d *desk) (*pair, error) {
	cert, err := d.read(r.certFile)
	key, keyErr := cert, err
	if r.keyFile != r.certFile {
		key, keyErr = d.read(r.keyFile)
	}
	switch {
	case err != nil || keyErr != nil:
		if r.keyFile == r.certFile {
			keyErr = nil
		}
		return nil, errors.Join(err, keyErr)
	case len(cert.certs) == 0:
		return nil, fmt.Errorf("%s: no certificate in it: want PEM, the leaf first", r.certFile)
	case len(key.keys) == 0:
		return nil, fmt.Errorf("%s: no private key in it: want PEM", r.keyFile)
	}
	for i, k := range key.keys {
		if same(k.Public(), cert.certs[0].PublicKey) {
			return d.pair(r.certFile, r.certFile, r.keyFile, cert.certs, &key.keys[i])
		}
		if i := slices.IndexFunc(cert.certs, func(c *x509.Certificate) bool { return same(k.Public(), c.PublicKey) }); i > 0 {
			return nil, fmt.Errorf("%s: the certificate of the key is the %d. in it: put it first", r.certFile, i+1)
		}
	}
	return nil, fmt.Errorf("%s: the key in %s is another certificate's: is one of the two files yet to come?", r.certFile, r.keyFile)
}
