package certs

import (
	"crypto/tls"
	"slices"
	"strings"
)

// An index finds certificates by name. It never changes.
type index struct {
	all   []*tls.Certificate            // the first choice first
	exact map[string][]*tls.Certificate // with the wildcards that fit behind them
	wild  map[string][]*tls.Certificate // by what follows the "*"
}

// newIndex makes one of certificates with their leaves, whose order it keeps.
func newIndex(all []*tls.Certificate) *index {
	x := &index{all: all, exact: make(map[string][]*tls.Certificate), wild: make(map[string][]*tls.Certificate)}
	for _, c := range all {
		for _, name := range subjects(c.Leaf) {
			if rest, wild := strings.CutPrefix(name, "*"); wild {
				x.wild[rest] = append(x.wild[rest], c)
			} else {
				x.exact[name] = append(x.exact[name], c)
			}
		}
	}
	for name, list := range x.exact {
		for _, c := range x.wild[parent(name)] {
			if !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
		x.exact[name] = list
	}
	return x
}

// match does what a shelf's does.
func (x *index) match(name string) []*tls.Certificate {
	if name == "" {
		return x.all
	}
	if list, ok := x.exact[name]; ok {
		return list
	}
	return x.wild[parent(name)]
}
