package certs

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

// TestImportTakesThePlace wants to be told what goes with the certificate before.
func TestImportTakesThePlace(t *testing.T) {
	storage := newTold(t)
	k := shelved(storage, newImported(storage, unlogged()))
	m, key := newMaker(t), ec(t)
	end := time.Now().Add(60 * 24 * time.Hour)
	for _, tt := range []struct {
		names []string
		until time.Time
		want  []string // in the warnings, one each
	}{
		{[]string{"mail.example.org", "imap.example.org", "pop.example.org"}, end, nil},
		{[]string{"mail.example.org", "*.example.org"}, end.Add(time.Hour), nil},
		{[]string{"mail.example.org", "example.org"}, end.Add(2 * time.Hour), []string{"which was also for *.example.org: "}},
		{[]string{"mail.example.org"}, end, []string{"which was also for example.org: ", "which is good for longer, until " + end.Add(2*time.Hour).UTC().Format(time.DateOnly)}},
		{[]string{"other.example.org"}, end, nil},
	} {
		leaf := m.sign(t, key, func(c *x509.Certificate) { c.DNSNames, c.NotAfter = tt.names, tt.until }, m.middle, m.middleKey)
		result, err := k.Import(t.Context(), chainText(leaf, m.middle), keyText(t, key))
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Warnings) != len(tt.want) {
			t.Errorf("%v: got %q, want %q", tt.names, result.Warnings, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(result.Warnings[i], want) {
				t.Errorf("%v: got %q, want %q", tt.names, result.Warnings[i], want)
			}
		}
	}
}
