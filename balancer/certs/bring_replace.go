package certs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// replaced warns of what goes with the certificate whose place is taken: the place
// is the first name and the kind of key alone.
func (k *Keeper) replaced(ctx context.Context, s *Status) []string {
	value, err := k.options.Storage.Load(ctx, s.From)
	if err != nil {
		return nil
	}
	defer clear(value) // a key is in it
	b, err := openValue(value)
	if err != nil {
		return nil
	}
	old := b.status(s.From)
	var lost, warnings []string
	for _, n := range old.Names {
		if !slices.ContainsFunc(s.Names, func(m string) bool { return covers(m, n) }) {
			lost = append(lost, n)
		}
	}
	if len(lost) > 0 {
		warnings = append(warnings, fmt.Sprintf("it took the place of %s, which was also for %s: import that as a certificate with another first name if these are still served", old.ID, strings.Join(lost, " ")))
	}
	if old.NotAfter.After(s.NotAfter) {
		warnings = append(warnings, fmt.Sprintf("it took the place of %s, which is good for longer, until %s: was the older file brought?", old.ID, old.NotAfter.UTC().Format(time.DateOnly)))
	}
	return warnings
}
