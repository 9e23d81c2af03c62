package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// A stored account is one value, so that it is there whole or not at all.
type storedAccount struct {
	Account acme.Account `json:"account"`
	Key     []byte       `json:"key"` // PEM
}

// accountKey is where the fleet keeps its account with the issuer.
func (i *orderer) accountKey() string {
	email := i.email
	if email == "" {
		email = "default"
	}
	return path.Join("acme", certmagic.StorageKeys.Safe(i.IssuerKey()), "accounts", certmagic.StorageKeys.Safe(email)+".json")
}

// account returns the fleet's account with the issuer, which is made the first
// time that somebody needs it.
func (i *orderer) account(ctx context.Context, c *acmez.Client) (acme.Account, error) {
	account, err := i.loadAccount(ctx)
	if !errors.Is(err, fs.ErrNotExist) {
		return account, err
	}
	lock := "acme_account_" + i.IssuerKey()
	if err := i.storage.Lock(ctx, lock); err != nil {
		if ctx.Err() == nil {
			err = storageError{err}
		}
		return account, fmt.Errorf("wait for the turn to make an account: %w", err)
	}
	defer func() { _ = i.storage.Unlock(context.WithoutCancel(ctx), lock) }() // a lock that stays ends by itself
	if account, err = i.loadAccount(ctx); !errors.Is(err, fs.ErrNotExist) {
		return account, err // somebody was faster
	}
	return i.register(ctx, c)
}

func (i *orderer) loadAccount(ctx context.Context) (acme.Account, error) {
	data, err := i.storage.Load(ctx, i.accountKey())
	if err != nil {
		return acme.Account{}, storageError{fmt.Errorf("load the account: %w", err)}
	}
	var stored storedAccount
	if err := json.Unmarshal(data, &stored); err != nil {
		return acme.Account{}, fmt.Errorf("read the stored account: %w", err)
	}
	key, err := certmagic.PEMDecodePrivateKey(stored.Key)
	if err != nil {
		return acme.Account{}, fmt.Errorf("read the key of the stored account: %w", err)
	}
	stored.Account.PrivateKey = key
	return stored.Account, nil
}

// register makes an account (RFC 8555 §7.3).
func (i *orderer) register(ctx context.Context, c *acmez.Client) (acme.Account, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return acme.Account{}, err
	}
	account := acme.Account{PrivateKey: key, TermsOfServiceAgreed: true}
	if i.email != "" {
		account.Contact = []string{"mailto:" + i.email}
	}
	if i.EABKeyID != "" {
		eab := acme.EAB{KeyID: i.EABKeyID, MACKey: string(i.EABKey)}
		if err := account.SetExternalAccountBinding(ctx, c.Client, eab); err != nil {
			return account, fmt.Errorf("bind the external account %s: %w", i.EABKeyID, err)
		}
	}
	account, err = c.NewAccount(ctx, account)
	if err != nil {
		return account, fmt.Errorf("make an account: %w", err)
	}
	return account, i.saveAccount(ctx, account, key)
}

func (i *orderer) saveAccount(ctx context.Context, account acme.Account, key crypto.PrivateKey) error {
	pem, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return err
	}
	account.ExternalAccountBinding = nil // was for once
	data, err := json.Marshal(storedAccount{account, pem})
	if err != nil {
		return err
	}
	if err := i.storage.Store(ctx, i.accountKey(), data); err != nil {
		return storageError{fmt.Errorf("store the account: %w", err)}
	}
	return nil
}

// A storageError is one of where certificates are kept, not of a CA.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }
