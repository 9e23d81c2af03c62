package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A Definition is an addition as the fleet keeps it.
type Definition struct {
	Addition
	// Live: users may be placed there. Until then nodes only make ready to reach it, and
	// from then on only to give it up.
	Live bool   `json:"live"`
	By   string `json:"by,omitempty"` // who added it
	At   int64  `json:"at,omitempty"` // and when, in Unix seconds
}

const (
	// MaxDefinition bounds a definition as JSON in octets: names and hosts are within
	// 400, who gave the order within 6 octets for each of 512, and the rest are numbers.
	MaxDefinition = 4096
	// MaxDefinitions is how many a fleet has. Each order asks all nodes and has each take
	// up its pools anew; hundreds belong into a file, which has room for thousands.
	MaxDefinitions = 256
	// DefinitionDir is where the fleet keeps them.
	DefinitionDir = "backends"
	// maxGiver bounds the name of who gave an order.
	maxGiver = 512
)

// Key is where the fleet keeps it.
func (a Addition) Key() string { return DefinitionDir + "/" + a.Pool + "/" + a.Name }

// ParseDefinition reads the definition that is kept under a key, strictly: another node
// has written it, and what this version does not know it cannot obey. Whether a back end
// comes of it is judged by With.
func ParseDefinition(key string, data []byte) (Definition, error) {
	var d Definition
	if len(data) > MaxDefinition {
		return d, fmt.Errorf("it has %d octets, none has more than %d", len(data), MaxDefinition)
	}
	if err := strict(data, &d); err != nil {
		return Definition{}, fmt.Errorf("it is malformed: %w", err)
	}
	switch {
	case !isName(d.Pool) || !isName(d.Name):
		return Definition{}, errors.New("the name of the pool or of the back end is none")
	case d.Key() != key:
		return Definition{}, fmt.Errorf("it is that of %s", strings.TrimPrefix(d.Key(), DefinitionDir+"/"))
	case len(d.By) > maxGiver:
		return Definition{}, fmt.Errorf("who added it has a name of %d octets, none has more than %d", len(d.By), maxGiver)
	}
	return d, nil
}

// Format writes it as ParseDefinition reads it.
func (d Definition) Format() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // texts and numbers
	}
	return b
}
