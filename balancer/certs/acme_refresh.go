package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// How often a CA is asked when it wants a certificate renewed, whatever it says itself
// (RFC 9773 §4.3.2): each answer is stored, and read by all nodes.
const (
	refreshDefault = 6 * time.Hour // of a CA that does not say
	refreshLeast   = time.Hour
	refreshMost    = 24 * time.Hour
)

// refresh asks the CA again when it wants the certificate renewed, at the times that
// it has set for that (RFC 9773 §4.3.2).
func (r *registrar) refresh(ctx context.Context, p *press, w *work, found *stock) {
	key := certmagic.StorageKeys.SiteMeta(found.ca, w.name)
	old, err := w.kind.storage(r.storage).Load(ctx, key)
	if err != nil {
		return
	}
	var meta certmagic.CertificateResource
	var stored acme.Certificate
	if json.Unmarshal(old, &meta) != nil || json.Unmarshal(meta.IssuerData, &stored) != nil ||
		stored.RenewalInfo == nil || !askAgain(*stored.RenewalInfo, time.Now()) {
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
	next := nextAsked(news.RetryAfter, time.Now())
	news.RetryAfter = &next
	stored.RenewalInfo = &news
	if meta.IssuerData, err = json.Marshal(stored); err != nil {
		return
	}
	data, err := json.Marshal(meta)
	if err == nil {
		err = r.replaceMeta(ctx, w, key, old, data)
	}
	if err != nil {
		r.log.Debug("what the CA said of the renewal is not kept", "name", w.name, "err", err)
	}
}

// askAgain says whether a CA is to be asked, also if the time that is stored is none
// that we would have set.
func askAgain(i acme.RenewalInfo, now time.Time) bool {
	return i.HasWindow() && (i.RetryAfter == nil || now.After(*i.RetryAfter) || i.RetryAfter.After(now.Add(refreshMost+time.Hour)))
}

func nextAsked(wish *time.Time, now time.Time) time.Time {
	if wish == nil {
		return now.Add(refreshDefault)
	}
	return now.Add(min(max(wish.Sub(now), refreshLeast), refreshMost))
}

// replaceMeta stores metadata if they are still those that they were made of, and nobody
// is about to store others. Otherwise they belong to another certificate, and it is
// asked again in its turn.
func (r *registrar) replaceMeta(ctx context.Context, w *work, key string, old, data []byte) error {
	if t, ok := r.storage.(certmagic.TryLocker); ok {
		got, err := t.TryLock(ctx, w.lock())
		if err != nil || !got {
			return err
		}
	} else if err := r.storage.Lock(ctx, w.lock()); err != nil {
		return err
	}
	defer func() { _ = r.storage.Unlock(context.WithoutCancel(ctx), w.lock()) }() // ends by itself
	s := w.kind.storage(r.storage)
	if now, err := s.Load(ctx, key); err != nil || !bytes.Equal(now, old) {
		return err
	}
	return s.Store(ctx, key, data)
}
