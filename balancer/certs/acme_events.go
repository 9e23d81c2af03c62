package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// event hears from certmagic what goes on, while it has the name's lock. An error keeps
// it from an order.
func (r *registrar) event(ctx context.Context, kind KeyKind, name string, data map[string]any) error {
	subject, _ := data["identifier"].(string)
	renewal, _ := data["renewal"].(bool)
	r.mu.Lock()
	w := r.works[want{canonical(subject), kind}]
	r.mu.Unlock()
	if w == nil {
		return nil
	}
	switch name {
	case "cert_obtaining":
		if err := r.mayOrder(ctx, w); err != nil {
			return err
		}
		sweep(ctx, r.storage, r.policy().cas, w.name)
		r.ordering(w, renewal)
	case "cert_failed":
		err, _ := data["error"].(error)
		r.ordered(ctx, w, err)
	case "cert_obtained":
		r.madeUpFor(w)
		r.ordered(ctx, w, nil)
	}
	return nil
}

// ordering takes down that an order begins, and not when it is stored: others may be
// faster to read it.
func (r *registrar) ordering(w *work, renewal bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.asked = true
	if w.fresh = "obtained"; renewal {
		w.fresh = "renewed"
	}
}

// madeUpFor tells of issuers that failed before another gave the certificate.
func (r *registrar) madeUpFor(w *work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(w.faults) == 0 {
		return
	}
	what, do := r.trouble(w, nil)
	if r.said.first(fmt.Sprint(w.kind, w.name, do), time.Now()) {
		r.log.Warn("an issuer failed, the next one gave the certificate", "event", "certificate_issuer_failed", "name", w.name, "key", w.kind, "err", what, "do", do)
	}
}

// gave takes down until when a certificate is good that a CA gave.
func (r *registrar) gave(w want, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if job := r.works[w]; job != nil {
		job.good = until
	}
}

// fault takes down that an issuer failed: certmagic tells the last one's error only.
func (r *registrar) fault(w want, i Issuer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if job := r.works[w]; job != nil {
		if job.faults == nil {
			job.faults = make(map[string]error)
		}
		job.faults[i.Name] = err
	}
}

// trouble is what went wrong, by issuer, and what to do. The caller holds r.mu.
func (r *registrar) trouble(w *work, err error) (what, do string) {
	var parts, cures []string
	add := func(text string, err error) {
		parts = append(parts, text)
		if cure := advice(err); !slices.Contains(cures, cure) {
			cures = append(cures, cure)
		}
	}
	for _, i := range r.policy().Issuers {
		if as[*pausedError](err) || errors.Is(err, errStillDue) {
			break // the faults, if any, are of another order
		}
		if fault := w.faults[i.Name]; fault != nil {
			add(i.Name+": "+words(fault), fault)
		}
	}
	if len(parts) == 0 {
		add(words(err), err)
	}
	return strings.Join(parts, "; "), strings.Join(cures, "; ")
}

// complain tells of a failure, once an hour for each kind of it. The caller holds
// r.mu.
func (r *registrar) complain(w *work, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, errBudget) || stored(err) && w.tries <= storageQuiet {
		return
	}
	what, do := r.trouble(w, err)
	if !r.said.first(fmt.Sprint(w.want, do), time.Now()) {
		r.log.Debug("certificate not obtained", "name", w.name, "key", w.kind, "err", what)
		return
	}
	served := "nothing"
	if p := w.pair.Load(); p != nil {
		served = "until " + p.Leaf.NotAfter.UTC().Format(time.DateTime) + " UTC"
	}
	r.log.Warn("certificate not obtained", "name", w.name, "key", w.kind, "err", what, "do", do,
		"served", served, "again", w.due.UTC().Format(time.DateTime)+" UTC", "event", "certificate_failed")
}
