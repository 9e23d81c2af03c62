package main

import (
	"fmt"
	"strings"
	"time"

	"usher.example/cluster"
)

// fewLocks is how many locks are listed for people; --json has all.
const fewLocks = 5

// vaultLines say what the table has under seal, and with which versions of the secret.
func vaultLines(v *cluster.Vault) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s stored, %d of %d octets\n", plural(v.Values, "value"), v.Octets, v.MaxOctets)
	if len(v.Locks) > 0 {
		var list []string
		for _, l := range v.Locks[:min(len(v.Locks), fewLocks)] {
			list = append(list, l.Name+" by "+l.Node)
		}
		if more := len(v.Locks) - fewLocks; more > 0 {
			list = append(list, fmt.Sprintf("and %d more", more))
		}
		fmt.Fprintf(&b, "locked: %s\n", text(strings.Join(list, ", ")))
	}
	if t := v.Tickets; t.Epoch > 0 {
		fmt.Fprintf(&b, "session tickets: key %d since %s, %s", t.Epoch, t.Since.UTC().Format(time.RFC3339), plural(t.Keys, "key"))
		if t.Unopened > 0 {
			fmt.Fprintf(&b, ", of which this node cannot open %d", t.Unopened)
		}
		b.WriteString("\n")
	}
	var seals []string
	for _, s := range v.Seals {
		seals = append(seals, sealedBy(s))
	}
	if len(seals) > 0 {
		fmt.Fprintf(&b, "sealed: %s\n", text(strings.Join(seals, "; ")))
	}
	return b.String()
}

// sealedBy says what is sealed with a version.
func sealedBy(s cluster.Seal) string {
	var what []string
	if s.Values > 0 {
		what = append(what, plural(s.Values, "value"))
	}
	if s.Tickets > 0 {
		what = append(what, plural(s.Tickets, "ticket key"))
	}
	if s.MapKey {
		what = append(what, "the map key")
	}
	if len(what) == 0 {
		what = []string{"nothing"}
	}
	by := "with " + s.By
	if s.Unknown {
		by += ", which this node does not have"
	}
	return by + ": " + strings.Join(what, ", ")
}
