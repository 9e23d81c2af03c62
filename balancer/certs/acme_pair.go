package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// A want is a certificate that should be there.
type want struct {
	name string // normal, may be a wildcard
	kind KeyKind
}

func (w want) wildcard() bool { return strings.HasPrefix(w.name, "*.") }

// id is what stands for it in lists while it is not there.
func (w want) id() string { return wantID(w.name + " " + string(w.kind)) }

// lock is the name that certmagic locks while it obtains or renews.
func (w want) lock() string { return "issue_cert_" + w.name }

// storage is where certificates of a kind are.
func (k KeyKind) storage(s certmagic.Storage) certmagic.Storage {
	if k == RSA {
		return beside{s, rsaPrefix}
	}
	return s
}

// stored is what watchers call a key of that storage.
func (k KeyKind) stored(key string) string {
	if k == RSA {
		return beside{prefix: rsaPrefix}.in(key)
	}
	return key
}

func (k KeyKind) generator() certmagic.KeyGenerator {
	if k == RSA {
		return certmagic.StandardKeyGenerator{KeyType: certmagic.RSA2048}
	}
	return certmagic.StandardKeyGenerator{KeyType: certmagic.P256}
}

func kindOf(a x509.PublicKeyAlgorithm) KeyKind {
	if a == x509.RSA {
		return RSA
	}
	return ECDSA
}

// A stock is a certificate that was found whole.
type stock struct {
	*tls.Certificate
	ca     string    // the issuer's key
	renew  time.Time // as the CA wants it; zero: it does not say
	status Status    // but what a policy says of it; made once, since a chain takes long to parse

	undone bool // it is there as a whole, and its parts are not; see [registrar.finish]
}

func newStock(c *tls.Certificate, ca string, renew time.Time) *stock {
	chain := []*x509.Certificate{c.Leaf}
	for _, der := range c.Certificate[1:] {
		if above, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, above)
		}
	}
	s := describe(chain)
	s.Source, s.From, s.RenewAt = "acme", ca, renew
	if renew.IsZero() { // as certmagic does then
		s.RenewAt = s.NotAfter.Add(-s.NotAfter.Sub(s.NotBefore) / 3).Truncate(time.Second)
	}
	return &stock{Certificate: c, ca: ca, renew: renew, status: s}
}

// errTorn is a certificate whose parts do not belong together: it was written in
// three steps, and somebody stopped between two.
var errTorn = errors.New("the stored certificate does not fit its key")

// readStored finds the newest whole certificate in the storage. Torn are the issuers
// whose certificate is not whole, which says nothing of those of others.
func readStored(ctx context.Context, s certmagic.Storage, w want, issuers []string) (best *stock, torn []string, err error) {
	s = w.kind.storage(s)
	for _, ca := range issuers {
		p, readErr := readOne(ctx, s, w, ca)
		switch {
		case errors.Is(readErr, fs.ErrNotExist):
		case errors.Is(readErr, errTorn):
			torn = append(torn, ca)
			err = readErr
		case readErr != nil:
			return best, torn, storageError{readErr}
		case best == nil || p.Leaf.NotBefore.After(best.Leaf.NotBefore):
			best = p
		}
	}
	if best == nil && err == nil {
		best, err = readLeft(ctx, s, w, issuers)
	}
	if best != nil {
		return best, torn, nil
	}
	if err == nil {
		err = fs.ErrNotExist
	}
	return nil, torn, err
}

// shownFor is what clients are shown where the configured issuers' newest certificate
// is found: that one, or one that an issuer has left which is configured no more, if
// found is past its time. Nothing is worth an error: what was found is there.
func shownFor(ctx context.Context, s certmagic.Storage, w want, issuers []string, found *stock) *stock {
	now := time.Now()
	if current(found.Leaf, now) {
		return found
	}
	if left, err := readLeft(ctx, w.kind.storage(s), w, issuers); err == nil && left != nil && current(left.Leaf, now) {
		return left
	}
	return found
}

// readLeft finds the newest certificate of an issuer that is configured no more: it
// is good until the new one has given another.
func readLeft(ctx context.Context, s certmagic.Storage, w want, issuers []string) (best *stock, err error) {
	keys, err := s.List(ctx, certmagic.StorageKeys.CertsPrefix(""), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storageError{err}
	}
	for _, key := range keys {
		ca := path.Base(key)
		if slices.ContainsFunc(issuers, func(i string) bool { return certmagic.StorageKeys.Safe(i) == ca }) {
			continue
		}
		p, err := readOne(ctx, s, w, ca)
		if err == nil && (best == nil || p.Leaf.NotBefore.After(best.Leaf.NotBefore)) {
			best = p
		}
	}
	return best, nil
}

// readOne reads what an issuer gave, from its parts or, where these are not all there,
// from the whole that was stored before them.
func readOne(ctx context.Context, s certmagic.Storage, w want, ca string) (*stock, error) {
	p, err := readParts(ctx, s, w, ca)
	if !errors.Is(err, errTorn) && !errors.Is(err, errHalf) {
		return p, err
	}
	one, wholeErr := readWhole(ctx, s, w, ca)
	if wholeErr != nil {
		return p, err
	}
	if p, wholeErr := one.stock(ca); wholeErr == nil {
		return p, nil
	}
	return p, err
}

// errHalf is a certificate of which some parts are not there.
var errHalf = errors.New("some of the certificate is not stored")

func readParts(ctx context.Context, s certmagic.Storage, w want, ca string) (*stock, error) {
	keys := certmagic.StorageKeys
	key, err := s.Load(ctx, keys.SitePrivateKey(ca, w.name))
	if err != nil {
		return nil, err
	}
	chain, err := s.Load(ctx, keys.SiteCert(ca, w.name))
	if err != nil {
		return nil, half(err)
	}
	meta, err := s.Load(ctx, keys.SiteMeta(ca, w.name))
	if err != nil {
		return nil, half(err)
	}
	crt, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTorn, err)
	}
	return newStock(&crt, ca, renewal(meta)), nil
}

func half(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errHalf, err)
	}
	return err
}

// leafOf is the first certificate of a chain in PEM. What a CA puts behind it is no
// reason to do without: it may be of a kind that is not known here.
func leafOf(chain []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("there is no certificate in the chain")
}
