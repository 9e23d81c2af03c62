package certs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/caddyserver/certmagic"
)

// rsaPrefix keeps RSA certificates apart: certmagic has one place for each name.
const rsaPrefix = "rsa"

// A beside is a storage inside of another, under a prefix of its own. Locks are
// the outer one's: of one name only one order runs at a time, whatever the key, so
// that their challenges do not meet.
type beside struct {
	certmagic.Storage
	prefix string
}

func (b beside) in(key string) string { return path.Join(b.prefix, key) }

func (b beside) out(key string) string {
	return strings.TrimPrefix(strings.TrimPrefix(key, b.prefix), "/")
}

func (b beside) Store(ctx context.Context, key string, value []byte) error {
	return b.Storage.Store(ctx, b.in(key), value)
}

func (b beside) Load(ctx context.Context, key string) ([]byte, error) {
	return b.Storage.Load(ctx, b.in(key))
}

func (b beside) Delete(ctx context.Context, key string) error {
	return b.Storage.Delete(ctx, b.in(key))
}

func (b beside) Exists(ctx context.Context, key string) bool {
	return b.Storage.Exists(ctx, b.in(key))
}

func (b beside) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	keys, err := b.Storage.List(ctx, b.in(prefix), recursive)
	for i := range keys {
		keys[i] = b.out(keys[i])
	}
	return keys, err
}

func (b beside) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	info, err := b.Storage.Stat(ctx, b.in(key))
	info.Key = b.out(info.Key)
	return info, err
}

// An atOnce is the storage that certmagic has. It stores a certificate in three steps,
// and when one fails it deletes what it stored before it, and with it the certificate
// that was to be replaced. Here the three are kept until the last has come, and are then
// stored so that there is a whole certificate at any time; see [whole].
type atOnce struct {
	certmagic.Storage
	locker certmagic.Storage // the outer one; see [beside]
	kind   KeyKind
	wholes *wholes
}

// part is where the certificate is that a key is a part of, and which part: what of its
// keys is the same, and their ends.
func part(key string) (base, end string, is bool) {
	if !strings.HasPrefix(key, certmagic.StorageKeys.CertsPrefix("")+"/") {
		return "", "", false
	}
	end = path.Ext(key)
	return strings.TrimSuffix(key, end), end, end == keyEnd || end == chainEnd || end == metaEnd
}

func (a *atOnce) Store(ctx context.Context, key string, value []byte) error {
	base, end, is := part(key)
	if !is {
		return a.Storage.Store(ctx, key, value)
	}
	w := a.wholes.add(a.kind.stored(base), end, value)
	if end != metaEnd {
		return nil
	}
	if err := w.store(ctx, a.Storage, base); err != nil {
		return storageError{err} // the wholes have it, and it is tried again
	}
	a.wholes.drop(a.kind.stored(base), w)
	return nil
}

// errNoLock begins what certmagic says of a lock that cannot be had: it keeps the text
// of an error alone.
var errNoLock = errors.New("the fleet gives no lock")

// Lock marks errors of the storage. A caller who has waited in vain gets another.
func (a *atOnce) Lock(ctx context.Context, name string) error {
	err := lockIn(ctx, a.locker, name)
	if err != nil && ctx.Err() == nil {
		return storageError{fmt.Errorf("%w: %w", errNoLock, err)}
	}
	return err
}

// Delete takes nothing away because of a part that could not be stored.
func (a *atOnce) Delete(ctx context.Context, key string) error {
	if base, _, is := part(key); is && a.wholes.get(a.kind.stored(base)) != nil {
		return nil
	}
	return a.Storage.Delete(ctx, key)
}
