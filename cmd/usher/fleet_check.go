package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// checkFleet tries the fleet's secret, whose form package cluster knows.
func checkFleet(c *config.Config) config.Problems {
	found := checkState(c)
	if c.Fleet.Name == "" {
		return found
	}
	if _, err := cluster.ReadSecrets(c.Fleet.SecretFile); err != nil {
		found = append(found, c.At("fleet.secret_file", err))
	}
	return found
}

// checkState looks whether the state directory that the file names can be written, or
// made. The one that nobody named is looked for at a start only: systemd makes it.
func checkState(c *config.Config) config.Problems {
	dir := c.Fleet.StateDir
	if dir == "" {
		return nil
	}
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if parent := filepath.Dir(dir); errors.Is(err, unix.ENOENT) && parent != dir {
			dir = parent
			continue
		}
		if err != nil {
			return config.Problems{c.At("fleet.state_dir", fmt.Errorf("%s cannot be written: %w", dir, err))}
		}
		return nil
	}
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
	found := append(append(cfg.CheckWitness(ctx), checkFleet(cfg)...), checkAPI(cfg)...)
	if node := nodeName(cfg); !slices.Contains(cfg.Fleet.Voters, node) {
		found = append(found, cfg.At("fleet.voters", fmt.Errorf("%q, this node, is not among them, and a witness only votes", node)))
	}
	if bad := found.Errors(); len(bad) > 0 {
		return nil, found.Warnings(), bad
	}
	return cfg, found.Warnings(), nil
}
