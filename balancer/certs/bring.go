package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// An Import is what became of a certificate that was brought.
type Import struct {
	Status   Status
	Warnings []string // what clients may stumble over; it is served all the same
}

// Export is a certificate as it leaves usher. Only Key is secret.
type Export struct {
	Status      Status
	Several     bool   // another one, with another key, is for its first name, too
	Certificate []byte // leaf, PEM
	Chain       []byte // what follows it, PEM; may be empty
	Key         []byte // PKCS #8, PEM; nil unless it was asked for
}

// errNoStorage means that there is no place for certificates.
var errNoStorage = errors.New("this node keeps nothing that could be brought: set fleet.state_dir, which a single node may have too, and restart")

// Import brings a certificate with its key into the fleet, where all nodes serve
// it on listeners with imported ones. The newest one with the same first name and
// kind of key takes the place of the one before. Nothing is changed by an error,
// which says what to do; it is ErrUnfit if that is about what was brought.
func (k *Keeper) Import(ctx context.Context, chain, key []byte) (Import, error) {
	b, err := openBundle(chain, key, time.Now())
	if err != nil {
		return Import{}, fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	if k.options.Storage == nil || k.options.Volatile {
		return Import{}, errNoStorage
	}
	at, err := importedKey(b)
	if err != nil {
		return Import{}, fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	value, err := b.pem()
	if err != nil {
		return Import{}, err
	}
	if err := k.room(ctx, at); err != nil {
		return Import{}, err
	}
	result := Import{Status: b.status(at), Warnings: b.warnings}
	result.Warnings = append(result.Warnings, k.replaced(ctx, &result.Status)...)
	if err := k.options.Storage.Store(ctx, at, value); err != nil {
		return Import{}, fmt.Errorf("store the certificate: %w", err)
	}
	if !k.reread(ctx) {
		result.Warnings = append(result.Warnings, "no listener shows imported certificates: add [[certificate]] with imported = true to the configuration of the nodes")
	}
	return result, nil
}

// room is an error if there is none for one more certificate. Two nodes may fill the
// last place at once; then shelves keep what they serve.
func (k *Keeper) room(ctx context.Context, at string) error {
	all, err := importedKeys(ctx, k.options.Storage)
	if err != nil {
		return fmt.Errorf("see what is stored: %w", err)
	}
	if len(all) >= maxImported && !slices.Contains(all, at) {
		return fmt.Errorf("%w: there are %d imported certificates, and no more are served: remove some with usher cert remove first", ErrUnfit, len(all))
	}
	return nil
}

// Remove takes an imported certificate out of the fleet and returns what it was.
// The error is ErrUnknown, ErrSeveral, ErrNotHere if it was not imported, or the
// storage's.
func (k *Keeper) Remove(ctx context.Context, name string) (Status, error) {
	all, err := k.find(name)
	if err != nil {
		return Status{}, err
	}
	var mine []found
	for _, f := range all {
		if _, ok := f.shelf.(*imported); ok {
			mine = append(mine, f)
		}
	}
	switch {
	case len(mine) == 0:
		return Status{}, fmt.Errorf("%w: %s was not imported, it has source %q; take it out of the configuration", ErrNotHere, name, all[0].status.Source)
	case len(mine) > 1:
		return Status{}, fmt.Errorf("%w: %s; say which, by its ID", ErrSeveral, ids(mine))
	}
	if err := k.options.Storage.Delete(ctx, mine[0].status.From); err != nil {
		return Status{}, fmt.Errorf("delete the certificate: %w", err)
	}
	k.reread(ctx)
	return mine[0].status, nil
}

// Export returns a certificate that is served, with its key if that is wanted. The
// error is ErrUnknown or ErrSeveral.
func (k *Keeper) Export(name string, key bool) (Export, error) {
	all, err := k.find(name)
	if err != nil {
		return Export{}, err
	}
	if len(all) > 1 {
		return Export{}, fmt.Errorf("%w: %s; say which, by its ID", ErrSeveral, ids(all))
	}
	c := all[0].certificate()
	if c == nil {
		return Export{}, fmt.Errorf("%w yet, only the want of one: usher cert show %s says what keeps it", ErrUnknown, name)
	}
	e := Export{Status: all[0].status, Certificate: encode(c.Certificate[:1]), Chain: encode(c.Certificate[1:])}
	if len(e.Status.Names) > 0 {
		same, _ := k.find(e.Status.Names[0])
		e.Several = len(same) > 1
	}
	if !key {
		return e, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return Export{}, fmt.Errorf("encode the key of %s: %w", name, err)
	}
	e.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return e, nil
}

// reread has the imported shelves take over what the storage has, and says whether
// there are any. What fails there is shown in their list.
func (k *Keeper) reread(ctx context.Context) bool {
	there := false
	for _, s := range k.inUse() {
		if i, ok := s.(*imported); ok {
			there = true
			_, _ = i.read(ctx)
		}
	}
	return there
}

// importedKey is where a certificate is stored: one of each kind of key, so that
// ECDSA and RSA can stand beside each other.
func importedKey(b *bundle) (string, error) {
	name := names(b.chain[0])[0]
	kind, _, _ := strings.Cut(strings.ToLower(keyName(b.key.Public())), " ")
	safe := strings.NewReplacer("*", "wildcard_", ":", "_").Replace(name)
	for _, r := range safe {
		// What a CA has signed may still be no host's name.
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", r) || strings.Contains(safe, "..") || strings.HasPrefix(safe, ".") {
			return "", fmt.Errorf("%q is no name of a host: have a certificate made with one", name)
		}
	}
	return path.Join(importedPrefix, safe, kind+".pem"), nil
}
