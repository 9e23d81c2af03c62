package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
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
	r.mu.Lock()
	w.faults, w.asked = nil, false
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
	var paused *pausedError
	switch {
	case err == nil:
		w.tries, w.due = 0, later(worksEvery)
	case errors.As(err, &paused):
		w.due = later(time.Until(paused.until()))
	case w.asked && time.Now().Before(w.last.until()):
		w.due = later(time.Until(w.last.until()))
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
		r.drop(w)
	}
}

// look reads a certificate, serves it, and renews or obtains it if that is due.
func (r *registrar) look(whole context.Context, p *press, w *work) error {
	ctx, cancel := context.WithTimeout(whole, workTime)
	defer cancel()
	found, torn, err := r.read(ctx, w)
	if len(torn) > 0 {
		if torn, err = r.repair(ctx, w, torn); err != nil {
			return err
		}
		if len(torn) == 0 {
			found, _, err = r.read(ctx, w)
		}
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && (found.undone || p.issuers[found.ca] == nil) || r.unstored(w.want) {
		if err := r.finish(ctx, w); err != nil {
			return err
		}
		found, _, err = r.read(ctx, w)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && p.issuers[found.ca] == nil:
		if err := r.room(); err != nil {
			return err
		}
		if err := r.pause(w); err != nil {
			return err
		}
		if err := r.order(whole, w, func(ctx context.Context) error { return p.config.ObtainCertSync(ctx, w.name) }); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if due, err := r.due(ctx, p, w, found); !due || err != nil {
			return err
		}
		if err := r.finish(ctx, w); err != nil { // then it finds that nothing is due
			return err
		}
		if err := r.pause(w); err != nil {
			return err
		}
		if err := r.order(whole, w, func(ctx context.Context) error { return p.config.RenewCertSync(ctx, w.name, false) }); err != nil {
			return err
		}
	}
	after, cancel := context.WithTimeout(whole, workTime) // what there was may be used up
	defer cancel()
	ctx = after
	if found, _, err = r.read(ctx, w); err != nil {
		return err
	}
	r.staple(ctx, p, w, found)
	r.mu.Lock()
	asked := w.asked
	r.mu.Unlock()
	if due, err := r.old(ctx, p, w); err != nil || !due || !asked {
		return err
	}
	return errStillDue
}

// order makes an order in its turn, which may come late: only then its time begins.
func (r *registrar) order(ctx context.Context, w *work, make func(context.Context) error) error {
	h, err := r.begin(ctx, w)
	if err != nil {
		return err
	}
	defer h.free()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, inSlot{}, h), workTime)
	defer cancel()
	return make(ctx)
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
		r.serve(w, shownFor(ctx, r.storage, w.want, r.policy().cas, found))
	}
	w.read.Store(true)
	return found, torn, err
}

// serve shows clients a certificate from now on, unless that is past its time and what
// they are shown is not: one of an issuer that was configured before may be older.
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
	if now := time.Now(); old != nil && current(old.Leaf, now) && !current(p.Leaf, now) {
		return
	}
	w.pair.Store(p)
	if old == nil && r.works[w.want] == w { // it may be wanted no more
		r.show(w.name)
	}
	how := w.fresh
	if w.fresh = ""; how == "" && old == nil {
		r.log.Debug("certificate loaded", "name", w.name, "key", w.kind, "expires", p.Leaf.NotAfter)
		return
	}
	if how == "" {
		how = "renewed by the fleet"
	}
	code := map[string]string{"obtained": "certificate_obtained", "renewed": "certificate_renewed", "renewed by the fleet": "certificate_taken"}
	r.log.Info("certificate "+how, "name", w.name, "key", w.kind, "ca", p.ca, "issuer", p.Leaf.Issuer.String(),
		"serial", p.Leaf.SerialNumber.Text(16), "expires", p.Leaf.NotAfter, "event", code[how])
}

// due says whether certmagic would renew a certificate now: by the CA's wish, or
// when a third of its time is left.
func (r *registrar) due(ctx context.Context, p *press, w *work, found *stock) (bool, error) {
	r.refresh(ctx, p, w, found)
	if old, err := r.old(ctx, p, w); err != nil || old {
		return old, err
	}
	r.staple(ctx, p, w, found)
	return false, nil
}

// old is due by what is stored.
func (r *registrar) old(ctx context.Context, p *press, w *work) (bool, error) {
	crt, err := p.config.CacheManagedCertificate(ctx, w.name)
	if err != nil {
		return false, err
	}
	r.cache.Remove([]string{crt.Hash()})
	return crt.NeedsRenewal(p.config), nil
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
		with, c := *found, *found.Certificate
		c.OCSPStaple, with.Certificate = crt.OCSPStaple, &c
		r.serve(w, &with)
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
		if err := r.settle(ctx, s, w.want, ca); err != nil {
			return torn, storageError{err}
		}
		if _, err := readOne(ctx, s, w.want, ca); !errors.Is(err, errTorn) {
			continue
		}
		if err := s.Delete(ctx, certmagic.StorageKeys.CertsSitePrefix(ca, w.name)); err != nil {
			return torn, storageError{fmt.Errorf("take away a torn certificate: %w", err)}
		}
		r.log.Warn("a stored certificate did not fit its key and is taken away; what is served stays, and a new one is obtained", "event", "certificate_torn",
			"name", w.name, "key", w.kind, "ca", ca)
	}
	return nil, nil
}
