package certs

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
)

// A policy is a plan's part about ACME, as it is in force. It does not change.
type policy struct {
	ACME
	names    []string // that are obtained, each once
	patterns []string // of those that may be, when a client asks
	cas      []string // keys of the issuers, in order
	obtained nameSet  // the names
	asked    nameSet  // the patterns
}

// newPolicy makes one of what listeners want. Nothing wanted is a policy, too.
func newPolicy(a ACME, names, patterns []string) (*policy, error) {
	p := &policy{ACME: a, obtained: make(nameSet), asked: make(nameSet)}
	for _, n := range names {
		if n = cmp.Or(canonical(n), n); !p.obtained[n] {
			p.names = append(p.names, n)
			p.obtained[n] = true
		}
	}
	for _, n := range patterns {
		if n = cmp.Or(canonical(n), n); !p.asked[n] {
			p.patterns = append(p.patterns, n)
			p.asked[n] = true
		}
	}
	if len(p.names)+len(p.patterns) == 0 {
		p.Issuers = nil
		return p, nil
	}
	for _, i := range a.Issuers {
		p.cas = append(p.cas, i.key())
	}
	return p, a.check(p.names, p.patterns)
}

// listed says whether a name is obtained without anybody asking for it.
func (p *policy) listed(name string) bool { return p.obtained[name] }

// demanded says whether a name may be obtained when a client asks for it.
func (p *policy) demanded(name string) bool { return p.asked.covers(name) }

// answers says for which names challenges are answered: those of which there can be
// an order. Which of them are written out in the configuration costs no more than
// the configuration allows; the rest are as many as strangers make up.
func (p *policy) answers(name string) (configured, allowed bool) {
	if p.obtained[name] || p.asked[name] {
		return true, true
	}
	return false, p.demanded(name)
}

// uses says whether any issuer may use a challenge.
func (p *policy) uses(c Challenge) bool {
	return slices.ContainsFunc(p.Issuers, func(i Issuer) bool { return slices.Contains(i.Challenges, c) })
}

// A press makes certificates of one kind of key, under one policy.
type press struct {
	kind    KeyKind
	issuers map[string]*orderer // by key
	config  *certmagic.Config   // for orders, and for certificates that no OCSP responder vouches for
	stapled *certmagic.Config   // the same, with OCSP
}

// newPress makes one. The cache only has to be there: what is served is ours, and
// so is the time of a renewal, since certmagic's own upkeep would hold a name's lock
// for as long as an order fails, up to a month, and wait for OCSP without a bound.
func (r *registrar) newPress(p *policy, kind KeyKind) *press {
	out := &press{kind: kind, issuers: make(map[string]*orderer)}
	var list []certmagic.Issuer
	chat := slog.New(chatter{r.log.Handler()})
	for _, i := range p.Issuers {
		ours := &orderer{
			Issuer: i, email: p.Email, storage: r.storage, solvers: make(map[string]acmez.Solver),
			limits: r.limit(i.key()), listed: p.listed, log: chat.With("ca", i.Name), failed: r.fault, gave: r.gave,
		}
		ours.http = httpClient(i, ours.limits)
		for _, c := range i.Challenges {
			switch c {
			case HTTP01, TLSALPN01:
				ours.solvers[string(c)] = solver{i.key(), r.storage, &r.dares}
			case DNS01:
				ours.solvers[string(c)] = record{p.DNS.solver(r.zap)}
			}
		}
		out.issuers[i.key()] = ours
		list = append(list, ours)
	}
	config := certmagic.Config{
		Issuers: list, KeySource: kind.generator(), Storage: &atOnce{kind.storage(r.storage), r.storage, kind, &r.wholes}, DisableStorageCheck: true,
		Logger: r.zap,
		OnEvent: func(ctx context.Context, name string, data map[string]any) error {
			return r.event(ctx, kind, name, data)
		},
		OCSP: certmagic.OCSPConfig{HTTPProxy: http.ProxyFromEnvironment}, // with it there is a time limit
	}
	out.stapled = certmagic.New(r.cache, config)
	config.OCSP.DisableStapling = true
	out.config = certmagic.New(r.cache, config)
	return out
}

func (d DNS) solver(log *zap.Logger) *certmagic.DNS01Solver {
	return &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
		DNSProvider: d.Provider, Resolvers: d.Resolvers, PropagationTimeout: d.Wait, Logger: log,
	}}
}
