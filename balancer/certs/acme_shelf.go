package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// An ordered shelf is what one listener shows of a registrar's certificates: those
// of its names, or those that its clients may ask for.
type ordered struct {
	r        *registrar
	names    []string
	listed   nameSet // the names
	patterns nameSet
}

// shelf is that of a source.
func (r *registrar) shelf(s Source) *ordered {
	o := &ordered{r: r, names: make([]string, len(s.Names))}
	for i, n := range s.Names {
		o.names[i] = canonical(n)
	}
	o.listed = setOf(o.names)
	patterns := make([]string, len(s.OnDemand))
	for i, p := range s.OnDemand {
		patterns[i] = canonical(p)
	}
	o.patterns = setOf(patterns)
	return o
}

func (o *ordered) match(name string) []*tls.Certificate {
	if name == "" {
		for _, n := range o.names {
			if list := o.r.at(n); list != nil {
				return list
			}
		}
		return nil
	}
	if o.listed[name] || o.asks(name) {
		if list := o.r.at(name); list != nil {
			return list
		}
	}
	if _, parent, ok := strings.Cut(name, "."); ok && o.listed["*."+parent] {
		return o.r.at("*." + parent)
	}
	return nil
}

func (o *ordered) asks(name string) bool { return o.patterns.covers(name) }

// hello is asked first by CAs that look for the answer to a challenge, and last by
// clients, when no shelf has a certificate: it obtains one if clients may ask for the
// name, and waits for it. It says false for names of which it knows nothing.
func (o *ordered) hello(hello *tls.ClientHelloInfo) (*tls.Certificate, bool, error) {
	if o.r.challenge(hello) != nil {
		c, err := o.r.answer(hello)
		return c, true, err
	}
	name := canonical(hello.ServerName)
	if name == "" || !o.asks(name) {
		return nil, false, nil
	}
	list, err := o.r.demand(hello.Context(), name)
	if err != nil {
		return nil, true, fmt.Errorf("certificate of %s: %w", name, err)
	}
	for _, c := range list {
		if hello.SupportsCertificate(c) == nil {
			return c, true, nil
		}
	}
	return list[0], true, nil
}

// renew renews the certificate of a name of the list; see [registrar.renew].
func (o *ordered) renew(ctx context.Context, name, key string, force bool) error {
	return o.r.renew(ctx, canonical(name), key, force)
}

// run: one run of the registrar is for all its shelves.
func (o *ordered) run(context.Context) {}

func (o *ordered) list() []Status {
	o.r.mu.Lock()
	defer o.r.mu.Unlock()
	var out []Status
	for _, kind := range o.r.policy().keys() {
		for _, n := range o.names {
			if w := o.r.works[want{n, kind}]; w != nil {
				out = append(out, o.r.status(w))
			} else {
				out = append(out, Status{ID: want{n, kind}.id(), Names: []string{n}, Source: "acme", Key: string(kind), Problem: "not looked at yet"})
			}
		}
	}
	for _, w := range o.r.works {
		// What strangers only wish for is nobody's business.
		if w.demanded && w.pair.Load() != nil && o.asks(w.name) && !o.listed[w.name] {
			s := o.r.status(w)
			s.OnDemand = true
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Status) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return out
}

// status describes a work. The caller holds r.mu.
func (r *registrar) status(w *work) Status {
	s := Status{ID: w.id(), Names: []string{w.name}, Source: "acme", Key: string(w.kind)}
	if len(r.policy().Issuers) > 0 {
		s.From = r.policy().Issuers[0].Name
	}
	if p := w.pair.Load(); p != nil {
		s = p.status
		if i := slices.Index(r.policy().cas, p.ca); i >= 0 {
			s.From = r.policy().Issuers[i].Name
		}
	} else if s.Problem = "not obtained yet"; w.err == nil {
		s.Problem += ": its order is under way"
	}
	if w.err != nil {
		what, do := r.trouble(w, w.err)
		s.Problem = what + ": " + do
	}
	return s
}

var _ shelf = (*ordered)(nil)
