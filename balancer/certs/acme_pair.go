package certs

import (
	"context"
	"crypto"
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
	ca    string    // the issuer's key
	renew time.Time // as the CA wants it; zero: it does not say

	undone bool // it is there as a whole, and its parts are not; see [registrar.finish]
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
	return &stock{Certificate: &crt, ca: ca, renew: renewal(meta)}, nil
}

func half(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errHalf, err)
	}
	return err
}

// leafOf is the first certificate of a chain in PEM.
func leafOf(chain []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("there is no certificate in the chain")
}

func equalKeys(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
