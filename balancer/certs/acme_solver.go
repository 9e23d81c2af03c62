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
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// cleanTime bounds the taking away of a challenge, which happens even when what it
// was for has been given up.
const cleanTime = 10 * time.Second

// A dare is a challenge of a CA that is waiting for its answer.
type dare struct {
	acme.Challenge
	// certificate is what answers it by tls-alpn-01 (RFC 8737 §3), made once.
	certificate func() (*tls.Certificate, error)
	// at is when it was stored, by the clock of the node that did.
	at time.Time
	// older are others of the name: one may be left of an issuer whose order was cut
	// short, so that none may stand in another's light.
	older *dare
}

// A storedDare is a challenge as the fleet has it.
type storedDare struct {
	acme.Challenge
	At time.Time `json:"usher_at"`
}

// pick finds one by type and, if that is not empty, token: the newest.
func (d *dare) pick(c Challenge, token string) *dare {
	for ; d != nil; d = d.older {
		if d.Type == string(c) && (token == "" || d.Token == token) {
			return d
		}
	}
	return nil
}

func newDare(c acme.Challenge) *dare {
	return &dare{Challenge: c, certificate: sync.OnceValues(func() (*tls.Certificate, error) { return acmez.TLSALPN01ChallengeCert(c) })}
}

// challengeFolder has the challenges of one CA.
const challengeFolder = "challenge_tokens"

// challengeKey is where the fleet finds a challenge, the same for certmagic.
func challengeKey(ca, name string) string {
	safe := certmagic.StorageKeys.Safe
	return path.Join("acme", safe(ca), challengeFolder, safe(name)+".json")
}

// dares are the challenges of orders that run on this node, by name. The same name
// has one at a time: see want.lock.
type dares struct {
	mu   sync.Mutex
	open map[string]*dare
}

func (d *dares) get(name string) *dare {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[name]
}

// set remembers a challenge, or forgets it if it is nil.
func (d *dares) set(name string, open *dare) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if open == nil {
		delete(d.open, name)
		return
	}
	if d.open == nil {
		d.open = make(map[string]*dare)
	}
	d.open[name] = open
}

// A solver hands a challenge to all nodes. It opens no socket: the answers are given
// by listeners that are open anyway, on whichever node the CA comes to.
type solver struct {
	ca      string
	storage certmagic.Storage
	dares   *dares
}

// Present tells the fleet, and this node last: who asks here before the others know
// gets no answer yet.
func (s solver) Present(ctx context.Context, c acme.Challenge) error {
	data, err := json.Marshal(storedDare{c, time.Now()})
	if err != nil {
		return err
	}
	if err := s.storage.Store(ctx, challengeKey(s.ca, c.Identifier.Value), data); err != nil {
		return storageError{fmt.Errorf("store the challenge: %w", err)}
	}
	s.dares.set(canonical(c.Identifier.Value), newDare(c))
	return nil
}

// CleanUp takes it back.
func (s solver) CleanUp(ctx context.Context, c acme.Challenge) error {
	s.dares.set(canonical(c.Identifier.Value), nil)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return s.storage.Delete(ctx, challengeKey(s.ca, c.Identifier.Value))
}

// elsewhere finds the challenges of orders that run on other nodes, the newest first.
func elsewhere(ctx context.Context, s certmagic.Storage, keys []string) (*dare, error) {
	var found []*dare
	for _, key := range keys {
		data, err := s.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var c storedDare
		if err := json.Unmarshal(data, &c); err != nil {
			return nil, fmt.Errorf("read a stored challenge: %w", err)
		}
		d := newDare(c.Challenge)
		d.at = c.At
		found = append(found, d)
	}
	if len(found) == 0 {
		return nil, fs.ErrNotExist
	}
	slices.SortStableFunc(found, func(a, b *dare) int { return b.at.Compare(a.at) })
	for i := range found[1:] {
		found[i].older = found[i+1]
	}
	return found[0], nil
}

// sweep takes away challenges that are left of earlier orders. The caller holds the
// name's lock, so none is open.
func sweep(ctx context.Context, s certmagic.Storage, issuers []string, name string) {
	for _, ca := range issuers {
		key := challengeKey(ca, name)
		if _, err := s.Load(ctx, key); err == nil {
			_ = s.Delete(ctx, key) // one that stays is older than the next
		}
	}
}

// A record is certmagic's solver of dns-01. Its records are taken away even if the
// order was given up.
type record struct{ *certmagic.DNS01Solver }

func (r record) CleanUp(ctx context.Context, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return r.DNS01Solver.CleanUp(ctx, c)
}

var (
	_ acmez.Solver = solver{}
	_ acmez.Waiter = record{}
)
