package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// The ends of a stored certificate's keys.
const (
	keyEnd   = ".key"
	chainEnd = ".crt"
	metaEnd  = ".json" // which others wait for
	wholeEnd = ".whole"
)

// storeTime bounds the storing of a certificate. It is done even when what it was
// obtained for has been given up: an order is worth more than the seconds.
const storeTime = 15 * time.Second

// A whole is a certificate in one value. It is stored before its three parts are, and
// taken away after them: whenever somebody dies meanwhile, at least one of the two is
// whole, and there is no time at which the storage has neither the old certificate nor
// the new one.
type whole struct {
	Key   []byte `json:"key"`   // PEM
	Chain []byte `json:"chain"` // PEM
	Meta  []byte `json:"meta"`  // JSON, certmagic's
}

// store stores the whole and then the parts. If the whole was stored, an error means
// that somebody else may make an end of it.
func (w *whole) store(ctx context.Context, s certmagic.Storage, base string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	data, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if err := s.Store(ctx, base+wholeEnd, data); err != nil {
		return err
	}
	return w.spread(ctx, s, base)
}

// spread stores the parts of a whole that is stored.
func (w *whole) spread(ctx context.Context, s certmagic.Storage, base string) error {
	for _, part := range []struct {
		end   string
		value []byte
	}{{keyEnd, w.Key}, {chainEnd, w.Chain}, {metaEnd, w.Meta}} {
		if err := s.Store(ctx, base+part.end, part.value); err != nil {
			return err
		}
	}
	_ = s.Delete(ctx, base+wholeEnd) // one that stays is older than the parts, or the same
	return nil
}

func (w *whole) stock(ca string) (*stock, error) {
	crt, err := tls.X509KeyPair(w.Chain, w.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTorn, err)
	}
	return &stock{Certificate: &crt, ca: ca, renew: renewal(w.Meta), undone: true}, nil
}

// wholeBase is what the keys of a certificate begin with.
func wholeBase(ca, name string) string {
	return path.Join(certmagic.StorageKeys.CertsSitePrefix(ca, name), certmagic.StorageKeys.Safe(name))
}

// readWhole reads what was stored before parts that are not all there.
func readWhole(ctx context.Context, s certmagic.Storage, w want, ca string) (*whole, error) {
	data, err := s.Load(ctx, wholeBase(ca, w.name)+wholeEnd)
	if err != nil {
		return nil, err
	}
	out := new(whole)
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("%w: %w", errTorn, err)
	}
	return out, nil
}

// wholes are certificates that were obtained and are not stored yet, by what their keys
// begin with. The zero value is ready.
type wholes struct {
	mu   sync.Mutex
	open map[string]*whole
}

// add adds a part. The first begins anew.
func (o *wholes) add(base, end string, value []byte) *whole {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.open[base]
	if w == nil || end == keyEnd {
		w = new(whole)
		if o.open == nil {
			o.open = make(map[string]*whole)
		}
		o.open[base] = w
	}
	switch end {
	case keyEnd:
		w.Key = value
	case chainEnd:
		w.Chain = value
	case metaEnd:
		w.Meta = value
	}
	return w
}

func (o *wholes) get(base string) *whole {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[base]
}

// drop forgets one that is stored, or of no use.
func (o *wholes) drop(base string, w *whole) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open[base] == w {
		delete(o.open, base)
	}
}

// unstored says whether we have obtained one that is not stored yet.
func (r *registrar) unstored(w want) bool {
	return slices.ContainsFunc(r.policy().cas, func(ca string) bool { return r.wholes.get(w.kind.stored(wholeBase(ca, w.name))) != nil })
}

// finish makes an end of what somebody, we or a node that is gone, obtained and could
// not store: it is better than an order.
func (r *registrar) finish(ctx context.Context, w *work) error {
	s := w.kind.storage(r.storage)
	found := r.unstored(w.want)
	for _, ca := range r.policy().cas {
		_, err := readWhole(ctx, s, w.want, ca)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errTorn) {
			return storageError{err}
		}
		found = found || !errors.Is(err, fs.ErrNotExist)
	}
	if !found {
		return nil
	}
	if err := r.storage.Lock(ctx, w.lock()); err != nil {
		return storageError{fmt.Errorf("wait for whoever writes the certificate: %w", err)}
	}
	defer func() { _ = r.storage.Unlock(context.WithoutCancel(ctx), w.lock()) }() // ends by itself
	for _, ca := range r.policy().cas {
		if err := r.settle(ctx, s, w.want, ca); err != nil {
			return storageError{fmt.Errorf("store the certificate that was obtained: %w", err)}
		}
	}
	return nil
}

// settle is finish for one issuer. The caller holds the name's lock.
func (r *registrar) settle(ctx context.Context, s certmagic.Storage, w want, ca string) error {
	base := wholeBase(ca, w.name)
	if ours := r.wholes.get(w.kind.stored(base)); ours != nil && ours.Meta != nil {
		if r.newer(ctx, s, w, ca, ours) {
			if err := ours.store(ctx, s, base); err != nil {
				return err
			}
		}
		r.wholes.drop(w.kind.stored(base), ours)
	}
	left, err := readWhole(ctx, s, w, ca)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && r.newer(ctx, s, w, ca, left):
		return left.spread(ctx, s, base)
	case err == nil || errors.Is(err, errTorn):
		return s.Delete(ctx, base+wholeEnd)
	}
	return err
}

// newer says whether one is of use, and no older than what the parts are.
func (r *registrar) newer(ctx context.Context, s certmagic.Storage, w want, ca string, one *whole) bool {
	p, err := one.stock(ca)
	if err != nil {
		return false
	}
	parts, err := readParts(ctx, s, w, ca)
	return err != nil || !p.Leaf.NotBefore.Before(parts.Leaf.NotBefore)
}
