//go:build race

package sim_test

const raceOn = true // everything is ten times slower
