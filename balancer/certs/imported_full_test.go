package certs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestImportWhenFull wants what is served to stay when there are as many imported
// certificates as a node serves, whatever the name of the next.
func TestImportWhenFull(t *testing.T) {
	storage := newTold(t)
	k := shelved(storage, newImported(storage, unlogged()))
	m, key := newMaker(t), ec(t)
	bring := func(name string) error {
		_, err := k.Import(t.Context(), chainText(m.server(t, key, name), m.middle), keyText(t, key))
		return err
	}
	if err := bring("mail.example.org"); err != nil {
		t.Fatal(err)
	}
	served := func() bool { return len(k.inUse()[0].match("mail.example.org")) == 1 }
	for i := range maxImported - 1 {
		if err := storage.Store(t.Context(), fmt.Sprintf("imported/bulk%d.example/ecdsa.pem", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := bring("aaa.example.org"); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "usher cert remove") {
		t.Errorf("got %v, want a refusal that says what to do", err)
	}
	if err := bring("mail.example.org"); err != nil {
		t.Errorf("one that takes the place of another: %v", err)
	}

	// Another node was quicker.
	if err := storage.Store(t.Context(), "imported/aaa.example.org/ecdsa.pem", nil); err != nil {
		t.Fatal(err)
	}
	k.reread(t.Context())
	if !served() {
		t.Error("a certificate that was served is no longer, since the name of another comes before it")
	}
}
