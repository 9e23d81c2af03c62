package main

import (
	"fmt"

	"usher.example/balancer/admin"
	"usher.example/cmd/internal/config"
)

// gateOptions translates [admin.api].
func gateOptions(a config.API) admin.GateOptions {
	return admin.GateOptions{
		CertFile: a.CertFile, KeyFile: a.KeyFile, ClientCAFile: a.ClientCAFile, TokenFile: a.TokenFile,
		Operators: a.Operators, Readers: a.Readers,
	}
}

// checkAPI tries the tokens, whose form package admin knows.
func checkAPI(c *config.Config) config.Problems {
	a := c.Admin.API
	if a.Address == "" || a.TokenFile == "" {
		return nil
	}
	tokens, err := admin.ReadTokens(a.TokenFile)
	if err == nil && tokens.Len() == 0 && a.ClientCAFile == "" {
		err = fmt.Errorf("%s has no token, so nobody could use the API: usher admin token --help", a.TokenFile)
	}
	if err != nil {
		return config.Problems{c.At("admin.api.token_file", err)}
	}
	return nil
}

// openGate makes the gate of the API over TCP; nil if there is none.
func openGate(a config.API, log *logger) (*admin.Gate, error) {
	if a.Address == "" {
		return nil, nil
	}
	g, err := admin.NewGate(gateOptions(a), log.Logger)
	if err != nil {
		return nil, fmt.Errorf("admin.api: %w", err)
	}
	return g, nil
}

// openAPI opens the port of the API.
func (w *web) openAPI(a config.API, server *admin.Server, g *admin.Gate) error {
	if g == nil {
		return nil
	}
	l, err := g.Listen(a.Address)
	if err != nil {
		return fmt.Errorf("admin.api.address: %w", err)
	}
	w.gate = g
	w.log.Info("the API is served over TCP", "address", l.Addr().String())
	w.serve(l, server.Remote(w.ready))
	return nil
}

// reload has the gate read its files again. What it returns has it go by them.
func (w *web) reload(a config.API) (commit func(), err error) {
	switch {
	case w == nil || w.gate == nil:
		return func() {}, nil // a change of the address takes a restart
	case a.Address == "":
		return func() {}, nil // likewise: what it was started with goes on
	}
	if commit, err = w.gate.Prepare(gateOptions(a)); err != nil {
		return nil, fmt.Errorf("admin.api: %w", err)
	}
	return commit, nil
}
