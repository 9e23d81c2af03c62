package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

const (
	// readTime bounds the reads of one certificate.
	readTime = 30 * time.Second

	// tornTime is how long a certificate may be torn before it is taken for
	// abandoned: who writes it needs three commits of the fleet.
	tornTime = 5 * time.Second
)

// work looks after one certificate.
func (r *registrar) work(ctx context.Context, p *press, w *work) {
	ctx, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	r.mu.Lock()
	w.faults = nil
	r.mu.Unlock()
	r.done(w, r.look(ctx, p, w))
}

// done takes down what came of it, and when to look again.
func (r *registrar) done(w *work, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.busy, w.err = false, err
	close(w.looked)
	w.looked = make(chan struct{})
	switch {
	case err == nil:
		w.tries, w.due = 0, later(worksEvery)
	case stored(err):
		w.due = later(storagePause)
		w.tries++
	case w.demanded:
		w.due = later(demandPause)
	default:
		w.due = later(pauses[min(w.tries, len(pauses)-1)])
		w.tries++
	}
	if w.again {
		w.again, w.peek, w.due = false, false, time.Time{}
	}
	r.wake()
	if err != nil {
		w.fresh = ""
		r.complain(w, err)
	}
}

// look reads a certificate, serves it, and renews or obtains it if that is due.
func (r *registrar) look(ctx context.Context, p *press, w *work) error {
	found, torn, err := r.read(ctx, w)
	if len(torn) > 0 {
		if torn, err = r.repair(ctx, w, torn); err != nil {
			return err
		}
		if len(torn) == 0 {
			found, _, err = r.read(ctx, w)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && p.issuers[found.ca] == nil:
		if err := r.room(); err != nil {
			return err
		}
		release, err := r.begin(ctx, w)
		if err != nil {
			return err
		}
		defer release()
		if err := p.config.ObtainCertSync(ctx, w.name); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if due, err := r.due(ctx, p, w, found); !due || err != nil {
			return err
		}
		release, err := r.begin(ctx, w)
		if err != nil {
			return err
		}
		defer release()
		if err := p.config.RenewCertSync(ctx, w.name, false); err != nil {
			return err
		}
	}
	if found, _, err = r.read(ctx, w); err != nil {
		return err
	}
	r.staple(ctx, p, w, found)
	return nil
}

// read reads a certificate and serves it if it is whole.
func (r *registrar) read(ctx context.Context, w *work) (*stock, []string, error) {
	select {
	case r.reads <- struct{}{}:
		defer func() { <-r.reads }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	found, torn, err := readStored(ctx, r.storage, w.want, r.policy().cas)
	if found != nil {
		r.serve(w, found)
	}
	w.read.Store(true)
	return found, torn, err
}

// serve shows clients a certificate from now on.
func (r *registrar) serve(w *work, p *stock) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := w.pair.Load()
	if old != nil && bytes.Equal(old.Leaf.Raw, p.Leaf.Raw) {
		if len(p.OCSPStaple) == 0 { // which a mere read does not bring
			p.OCSPStaple = old.OCSPStaple
		}
		w.pair.Store(p)
		return
	}
	w.pair.Store(p)
	if old == nil {
		r.list()
	}
	how := w.fresh
	if w.fresh = ""; how == "" && old == nil {
		r.log.Debug("certificate loaded", "name", w.name, "key", w.kind, "expires", p.Leaf.NotAfter)
		return
	}
	if how == "" {
		how = "renewed by the fleet"
	}
	r.log.Info("certificate "+how, "name", w.name, "key", w.kind, "ca", p.ca, "issuer", p.Leaf.Issuer.String(),
		"serial", p.Leaf.SerialNumber.Text(16), "expires", p.Leaf.NotAfter)
}

// due says whether certmagic would renew a certificate now: by the CA's wish, or
// when a third of its time is left.
func (r *registrar) due(ctx context.Context, p *press, w *work, found *stock) (bool, error) {
	r.refresh(ctx, p, w, found)
	crt, err := p.config.CacheManagedCertificate(ctx, w.name)
	if err != nil {
		return false, err
	}
	r.cache.Remove([]string{crt.Hash()})
	if crt.NeedsRenewal(p.config) {
		return true, nil
	}
	r.staple(ctx, p, w, found)
	return false, nil
}

// staple adds what an OCSP responder says, from the storage if that is new enough.
func (r *registrar) staple(ctx context.Context, p *press, w *work, found *stock) {
	if len(found.Leaf.OCSPServer) == 0 {
		return
	}
	crt, err := p.stapled.CacheManagedCertificate(ctx, w.name)
	if err != nil {
		return // the certificate goes without
	}
	r.cache.Remove([]string{crt.Hash()})
	if bytes.Equal(crt.Leaf.Raw, found.Leaf.Raw) && len(crt.OCSPStaple) > 0 {
		with := *found.Certificate
		with.OCSPStaple = crt.OCSPStaple
		r.serve(w, &stock{&with, found.ca, found.renew})
	}
}

// refresh asks the CA again when it wants the certificate renewed, at the times that
// it has set for that (RFC 9773 §4.3.2).
func (r *registrar) refresh(ctx context.Context, p *press, w *work, found *stock) {
	key := certmagic.StorageKeys.SiteMeta(found.ca, w.name)
	s := w.kind.storage(r.storage)
	data, err := s.Load(ctx, key)
	if err != nil {
		return
	}
	var meta certmagic.CertificateResource
	var stored acme.Certificate
	if json.Unmarshal(data, &meta) != nil || json.Unmarshal(meta.IssuerData, &stored) != nil ||
		stored.RenewalInfo == nil || !stored.RenewalInfo.NeedsRefresh() {
		return
	}
	news, err := p.issuers[found.ca].GetRenewalInfo(ctx, certmagic.Certificate{Certificate: *found.Certificate})
	if err != nil {
		r.log.Debug("the CA does not say when to renew", "name", w.name, "err", err)
		return
	}
	if news.SameWindow(*stored.RenewalInfo) && !stored.RenewalInfo.SelectedTime.IsZero() {
		news.SelectedTime = stored.RenewalInfo.SelectedTime
	}
	stored.RenewalInfo = &news
	if meta.IssuerData, err = json.Marshal(stored); err != nil {
		return
	}
	if data, err = json.Marshal(meta); err == nil {
		err = s.Store(ctx, key, data)
	}
	if err != nil {
		r.log.Debug("what the CA said of the renewal is not kept", "name", w.name, "err", err)
	}
}

// repair takes away certificates that stay torn: they are of no use to anybody, and
// in the way of an order. It returns those that it left.
func (r *registrar) repair(ctx context.Context, w *work, torn []string) ([]string, error) {
	wait := time.NewTimer(tornTime)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return torn, ctx.Err()
	}
	// Nobody writes while we have the lock.
	if err := r.storage.Lock(ctx, w.lock()); err != nil {
		return torn, storageError{fmt.Errorf("wait for whoever writes the certificate: %w", err)}
	}
	defer func() { _ = r.storage.Unlock(context.WithoutCancel(ctx), w.lock()) }() // ends by itself
	s := w.kind.storage(r.storage)
	for _, ca := range torn {
		if _, err := readOne(ctx, s, w.want, ca); !errors.Is(err, errTorn) {
			continue
		}
		if err := s.Delete(ctx, certmagic.StorageKeys.CertsSitePrefix(ca, w.name)); err != nil {
			return torn, storageError{fmt.Errorf("take away a torn certificate: %w", err)}
		}
		r.log.Warn("a stored certificate did not fit its key and is taken away; what is served stays, and a new one is obtained",
			"name", w.name, "key", w.kind, "ca", ca)
	}
	return nil, nil
}
