package main

import (
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
