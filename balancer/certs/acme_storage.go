package certs

import (
	"context"
	"path"
	"strings"
	"sync"

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

// An undo is the storage that certmagic has. When one of a certificate's three parts
// cannot be stored, certmagic deletes those that it stored before it, and with them
// the certificate that they were to take the place of: here they get back what they
// were.
type undo struct {
	certmagic.Storage
	mu  sync.Mutex
	old map[string][]byte
}

// part says whether a key is of a certificate, and whether it is the last of it.
func part(key string) (is, last bool) {
	return strings.HasPrefix(key, certmagic.StorageKeys.CertsPrefix("")+"/"), path.Ext(key) == ".json"
}

func (u *undo) Store(ctx context.Context, key string, value []byte) error {
	is, last := part(key)
	if !is {
		return u.Storage.Store(ctx, key, value)
	}
	var old []byte
	if !last {
		old, _ = u.Storage.Load(ctx, key) // none, or none that could be had
	}
	if err := u.Storage.Store(ctx, key, value); err != nil {
		return storageError{err}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch dir := path.Dir(key); {
	case last:
		for k := range u.old {
			if path.Dir(k) == dir {
				delete(u.old, k)
			}
		}
	case old != nil:
		if u.old == nil {
			u.old = make(map[string][]byte)
		}
		u.old[key] = old
	}
	return nil
}

func (u *undo) Delete(ctx context.Context, key string) error {
	u.mu.Lock()
	old, ok := u.old[key]
	delete(u.old, key)
	u.mu.Unlock()
	if ok {
		return u.Storage.Store(ctx, key, old)
	}
	return u.Storage.Delete(ctx, key)
}
