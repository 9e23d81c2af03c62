package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"usher.example/balancer/certs"
	"usher.example/balancer/certs/rfc2136"
	"usher.example/cmd/internal/config"
)

// acmePlan is [acme] in the terms of certs. It reads the files that the table names,
// so that what a reload puts into force is whole.
func acmePlan(c config.ACME) (certs.ACME, error) {
	a := certs.ACME{Email: c.Email, Agreed: c.Agreed, Redirect: c.HTTPRedirect}
	for _, k := range c.Keys {
		a.Keys = append(a.Keys, certs.KeyKind(k))
	}
	var errs []error
	if c.DNS.Server != "" {
		var err error
		a.DNS, err = acmeDNS(c.DNS)
		errs = append(errs, err)
	}
	for _, i := range c.Issuers {
		is, err := acmeIssuer(i)
		if err != nil {
			errs = append(errs, fmt.Errorf("issuer %s: %w", i.Name, err))
		}
		a.Issuers = append(a.Issuers, is)
	}
	return a, errors.Join(errs...)
}

// acmeDNS is [acme.dns]. The server that is told is asked as well, for zones and for
// whether a record is there: it is the first to know.
func acmeDNS(c config.ACMEDNS) (certs.DNS, error) {
	fail := func(err error) (certs.DNS, error) { return certs.DNS{}, fmt.Errorf("acme.dns: %w", err) }
	text, err := config.ReadPrivate(c.TSIGSecretFile)
	if err != nil {
		return fail(err)
	}
	key, err := rfc2136.ParseKey(text)
	clear(text)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", c.TSIGSecretFile, err))
	}
	key.Name, key.Algorithm = cmp.Or(key.Name, c.TSIGName), cmp.Or(key.Algorithm, string(c.TSIGAlgorithm))
	p, err := rfc2136.New(rfc2136.Options{Server: c.Server, Key: key})
	if err != nil {
		return fail(err)
	}
	d := certs.DNS{Provider: p, Resolvers: []string{c.Server}, Wait: c.Wait}
	if c.Wait == 0 {
		d.Wait = -1 * time.Second // nobody looks
	}
	return d, nil
}

func acmeIssuer(i config.Issuer) (certs.Issuer, error) {
	is := certs.Issuer{Name: i.Name, Directory: i.Directory, EABKeyID: i.EABKeyID, Chain: i.Chain}
	for _, c := range i.Challenges {
		is.Challenges = append(is.Challenges, certs.Challenge(c))
	}
	if i.CAFile != "" {
		var err error
		if is.Roots, err = authorities(i.CAFile); err != nil {
			return is, err
		}
	}
	if i.EABKeyFile != "" {
		key, err := config.ReadSecret(i.EABKeyFile)
		if err != nil {
			return is, err
		}
		is.EABKey = certs.Secret(strings.TrimRight(string(key), "=")) // padding is some CAs' habit
	}
	return is, nil
}

// acmeSources are the sources that a certificate of the configuration has at CAs:
// none where it comes from files.
func acmeSources(c config.Certificate) ([]certs.Source, error) {
	var list []certs.Source
	if len(c.Names) > 0 {
		list = append(list, certs.Source{Names: c.Names})
	}
	patterns := c.OnDemand
	if c.OnDemandFile != "" {
		more, err := config.ReadNames(c.OnDemandFile)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns[:len(patterns):len(patterns)], more...)
	}
	if len(patterns) > 0 {
		list = append(list, certs.Source{OnDemand: patterns})
	}
	return list, nil
}

// acmeDoors are the ports at which CAs find answers; empty: none is needed.
func acmeDoors(c config.ACME) (httpAddress, alpnAddress string) {
	for _, i := range c.Issuers {
		for _, challenge := range i.Challenges {
			switch challenge {
			case config.HTTP01:
				httpAddress = c.HTTP
			case config.TLSALPN01:
				alpnAddress = c.TLSALPN
			case config.DNS01: // the CA comes to the DNS server
			}
		}
	}
	return httpAddress, alpnAddress
}
