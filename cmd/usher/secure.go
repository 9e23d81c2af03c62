package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"usher.example/balancer/certs"
	"usher.example/cmd/internal/config"
)

// modern are the cipher suites of TLS 1.2 that listeners take: ephemeral keys and
// AEAD (RFC 9325 §4.2). Those of TLS 1.3 are all so. Key exchange is left to Go,
// whose default leads with X25519MLKEM768.
var modern = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// obsolete are taken as well where tls_min is below 1.2: TLS 1.0 and 1.1 have no
// AEAD, and the devices that they are for may have no ephemeral keys.
var obsolete = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}

// listenerTLS is what a listener's handshakes are done with, but the
// certificates, which are the keeper's. Session tickets are on, early data does
// not exist in crypto/tls.
func listenerTLS(oldest uint16) *tls.Config {
	cfg := &tls.Config{MinVersion: oldest, CipherSuites: modern}
	if oldest < tls.VersionTLS12 {
		cfg.CipherSuites = append(append([]uint16(nil), modern...), obsolete...)
	}
	return cfg
}

// certificates is what a configuration asks of the keeper. It reads files with names
// and secrets; those of certificates the keeper reads.
func certificates(c *config.Config) (certs.Plan, error) {
	p := certs.Plan{Listeners: make(map[string]certs.Listener)}
	var err error
	if p.ACME, err = acmePlan(c.ACME); err != nil {
		return p, err
	}
	for _, l := range c.Listeners {
		if l.TLS == config.TLSNone {
			continue
		}
		var shown certs.Listener
		for _, crt := range l.Certificates {
			sources, err := certificateSources(crt)
			if err != nil {
				return p, fmt.Errorf("listener %s: %w", l.Name, err)
			}
			shown.Sources = append(shown.Sources, sources...)
		}
		p.Listeners[l.Name] = shown
	}
	return p, nil
}

func certificateSources(c config.Certificate) ([]certs.Source, error) {
	if s := (certs.Source{CertFile: c.CertFile, KeyFile: c.KeyFile, Directory: c.CertDir, Imported: c.Imported}); s.CertFile != "" || s.Directory != "" || s.Imported {
		return []certs.Source{s}, nil
	}
	return acmeSources(c)
}

// shown has the listeners' handshakes show the keeper's certificates.
func (w *wiring) shown(k *certs.Keeper) {
	for i := range w.balancer.Listeners {
		l := &w.balancer.Listeners[i]
		if l.Config == nil {
			continue
		}
		kept := k.Config(l.Name)
		l.Config.GetCertificate, l.Config.GetConfigForClient = kept.GetCertificate, kept.GetConfigForClient
	}
}

// tryCertificates reads the files as a start would. The warnings are of what is
// shown all the same, or stands in a directory beside what is; those about the dates
// of a cert_file package config has given.
func tryCertificates(c *config.Config, w *wiring) (config.Problems, error) {
	list, err := certs.Try(w.certs)
	if err != nil {
		return nil, err
	}
	alone := make(map[string]bool)
	for _, l := range c.Listeners {
		for _, crt := range l.Certificates {
			alone[crt.CertFile] = true
		}
	}
	now := time.Now()
	var found config.Problems
	for _, s := range list {
		if s.Problem == "" || alone[s.From] && !s.NotAfter.IsZero() && !s.Current(now) {
			continue
		}
		text := s.Problem
		if !strings.HasPrefix(text, s.From) {
			text = s.From + ": " + text
		}
		p := c.At("certificate", errors.New(text))
		p.Warning = true
		found = append(found, p)
	}
	return found, nil
}
