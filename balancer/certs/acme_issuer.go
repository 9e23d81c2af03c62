package certs

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

const (
	// orderTime bounds one order with one issuer. CAs look within seconds; with
	// DNS-01 it has to hold certmagic's two minutes for a record to spread.
	orderTime = 5 * time.Minute

	// clockSlack is how far a CA's clock may be ahead of ours before its
	// certificates look as if they were not valid yet.
	clockSlack = 5 * time.Minute

	// maxGiven bounds a chain in octets: it has to fit into a value of the fleet with
	// its key and what else is stored, in base64. Chains have some 10 KiB.
	maxGiven = 64 << 10
)

// An orderer is an Issuer at work. It is not certmagic's own, whose solvers open
// sockets themselves wherever they find a port free, share one memory of challenges
// in the process, and may ask for a mail address on the terminal.
type orderer struct {
	Issuer
	email   string
	storage certmagic.Storage // of accounts and challenges, whatever kind the keys are
	solvers map[string]acmez.Solver
	http    *http.Client
	limits  *limits
	listed  func(name string) bool // the configuration has it
	log     *slog.Logger
	// failed is told each order that came to nothing, also where the next issuer
	// makes up for it.
	failed func(want, Issuer, error)
	// gave is told until when the certificate is good that came of another.
	gave func(want, time.Time)
}

// IssuerKey is the issuer's place in the storage.
func (i *orderer) IssuerKey() string { return i.key() }

// errWildcard: the next issuer may do better.
var errWildcard = errors.New("this issuer may not use " + string(DNS01) + ", which a wildcard takes")

// Issue orders a certificate (RFC 8555 §7.4).
func (i *orderer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if len(csr.DNSNames) != 1 {
		return nil, fmt.Errorf("want one name, got %d", len(csr.DNSNames))
	}
	w := want{csr.DNSNames[0], kindOf(csr.PublicKeyAlgorithm)}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, orderOf{}, w.name), orderTime)
	defer cancel()
	err := i.limits.hold(w.name, time.Now())
	var issued *certmagic.IssuedCertificate
	if err == nil {
		issued, err = i.issue(ctx, csr, w)
		err = i.limits.learn(w.name, i.listed(w.name), err, time.Now())
	}
	if err != nil {
		i.failed(w, i.Issuer, err)
	} else if leaf, err := leafOf(issued.Certificate); err == nil {
		i.gave(w, leaf.NotAfter)
	}
	return issued, err
}

func (i *orderer) issue(ctx context.Context, csr *x509.CertificateRequest, w want) (*certmagic.IssuedCertificate, error) {
	if w.wildcard() && !slices.Contains(i.Challenges, DNS01) {
		return nil, errWildcard
	}
	c := i.client()
	for again := false; ; again = true {
		account, err := i.account(ctx, c)
		if err != nil {
			return nil, err
		}
		chains, err := i.order(ctx, c, account, csr, w)
		var problem acme.Problem
		if !again && errors.As(err, &problem) && problem.Type == acme.ProblemTypeAccountDoesNotExist {
			// The CA was set up anew, or has thrown us out: begin again.
			if err := i.storage.Delete(ctx, i.accountKey()); err != nil {
				return nil, storageError{fmt.Errorf("forget the account: %w", err)}
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		chain := i.choose(chains)
		if err := fitsOrder(chain.ChainPEM, csr, w.name); err != nil {
			return nil, err
		}
		return &certmagic.IssuedCertificate{Certificate: chain.ChainPEM, Metadata: chain}, nil
	}
}

// order says which certificate the new one is for, so that the CA does not count it
// as one more (RFC 9773 §5); a CA that does not know that one is asked without.
func (i *orderer) order(ctx context.Context, c *acmez.Client, account acme.Account, csr *x509.CertificateRequest, w want) ([]acme.Certificate, error) {
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return nil, err
	}
	params.Replaces = i.replaced(ctx, w)
	chains, err := c.ObtainCertificate(ctx, params)
	var problem acme.Problem
	if params.Replaces != nil && errors.As(err, &problem) && problem.Resource == nil &&
		slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict}, problem.Status) {
		params.Replaces = nil
		chains, err = c.ObtainCertificate(ctx, params)
	}
	return chains, err
}

// replaced is the certificate of the name that this issuer has given before.
func (i *orderer) replaced(ctx context.Context, w want) *x509.Certificate {
	chain, err := w.kind.storage(i.storage).Load(ctx, certmagic.StorageKeys.SiteCert(i.IssuerKey(), w.name))
	if err != nil {
		return nil
	}
	leaf, err := leafOf(chain)
	if err != nil || len(leaf.AuthorityKeyId) == 0 {
		return nil
	}
	return leaf
}

func (i *orderer) client() *acmez.Client {
	return &acmez.Client{
		Client:           &acme.Client{Directory: i.directory(), UserAgent: "usher", HTTPClient: i.http, Logger: i.log},
		ChallengeSolvers: i.solvers,
	}
}

// choose takes the chain that is preferred.
func (i *orderer) choose(chains []acme.Certificate) acme.Certificate {
	if len(chains) == 0 {
		return acme.Certificate{} // fits finds it
	}
	for _, c := range chains {
		for block, rest := pem.Decode(c.ChainPEM); block != nil; block, rest = pem.Decode(rest) {
			if crt, err := x509.ParseCertificate(block.Bytes); err == nil && i.Chain != "" && crt.Issuer.CommonName == i.Chain {
				return c
			}
		}
	}
	return chains[0]
}

// errNonsense is an answer that no CA should give.
var errNonsense = errors.New("the CA answers nonsense")

// fits refuses a certificate that could not be served: it would take the place of
// one that can.
func fitsOrder(chain []byte, csr *x509.CertificateRequest, name string) error {
	if len(chain) > maxGiven {
		return fmt.Errorf("%w: a chain of more than %d bytes", errNonsense, maxGiven)
	}
	leaf, err := leafOf(chain)
	if err != nil {
		return fmt.Errorf("%w: %w", errNonsense, err)
	}
	if !same(leaf.PublicKey, csr.PublicKey) {
		return fmt.Errorf("%w: a certificate of a key that is not ours", errNonsense)
	}
	if !slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return canonical(n) == name }) {
		return fmt.Errorf("%w: a certificate of %q instead of %s", errNonsense, leaf.DNSNames, name)
	}
	now := time.Now()
	if now.Add(clockSlack).Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired, Detail: fmt.Sprintf(
			"the new certificate is valid from %s to %s", leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime))}
	}
	return nil
}

// renewalInfoTime bounds the question when to renew: its answer is a few lines, and the
// next look asks again.
const renewalInfoTime = time.Minute

// GetRenewalInfo asks when the CA wants a certificate renewed (RFC 9773 §4).
func (i *orderer) GetRenewalInfo(ctx context.Context, cert certmagic.Certificate) (acme.RenewalInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, renewalInfoTime)
	defer cancel()
	return i.client().GetRenewalInfo(ctx, cert.Leaf)
}

// renewal is what a stored certificate's metadata say of its renewal.
func renewal(meta []byte) (at time.Time) {
	var stored struct {
		Data acme.Certificate `json:"issuer_data"`
	}
	if json.Unmarshal(meta, &stored) == nil && stored.Data.RenewalInfo != nil {
		return stored.Data.RenewalInfo.SelectedTime
	}
	return time.Time{}
}
