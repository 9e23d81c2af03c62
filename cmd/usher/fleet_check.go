package main

import (
	"context"
	"fmt"
	"slices"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// checkFleet tries the fleet's secret, whose form package cluster knows.
func checkFleet(c *config.Config) config.Problems {
	if c.Fleet.Name == "" {
		return nil
	}
	if _, err := cluster.ReadSecrets(c.Fleet.SecretFile); err != nil {
		return config.Problems{c.At("fleet.secret_file", err)}
	}
	return nil
}

// takeSecrets has a fleet take up what its secret file has now. The file is the one
// that the process was started with.
func takeSecrets(f *cluster.Fleet, first *config.Config) error {
	if f == nil || first.Fleet.Name == "" {
		return nil
	}
	list, err := cluster.ReadSecrets(first.Fleet.SecretFile)
	if err != nil {
		return err
	}
	return f.SetSecrets(list)
}

// loadWitness is load for a node that only votes.
func loadWitness(ctx context.Context, path string) (*config.Config, config.Problems, error) {
	cfg, err := config.LoadWitness(path)
	if err != nil {
		return nil, nil, err
	}
	found := append(cfg.CheckWitness(ctx), checkFleet(cfg)...)
	if node := nodeName(cfg); !slices.Contains(cfg.Fleet.Voters, node) {
		found = append(found, cfg.At("fleet.voters", fmt.Errorf("%q, this node, is not among them, and a witness only votes", node)))
	}
	if bad := found.Errors(); len(bad) > 0 {
		return nil, found.Warnings(), bad
	}
	return cfg, found.Warnings(), nil
}
