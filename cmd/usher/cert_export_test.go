package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"usher.example/balancer/admin"
)

func TestExportName(t *testing.T) {
	for _, tt := range []struct {
		asked string
		e     admin.CertificateExported
		want  string
	}{
		{"imap.example.org", admin.CertificateExported{ID: "aaaa11112222", Names: []string{"mail.example.org", "imap.example.org"}}, "imap.example.org"},
		{"IMAP.example.org.", admin.CertificateExported{ID: "aaaa11112222", Names: []string{"*.example.org"}}, "imap.example.org"},
		{"*.example.org", admin.CertificateExported{ID: "aaaa11112222", Names: []string{"*.example.org"}}, "_.example.org"},
		{"aaaa1", admin.CertificateExported{ID: "aaaa11112222", Names: []string{"mail.example.org"}}, "mail.example.org"},
		{"aaaa111122223333", admin.CertificateExported{ID: "aaaa11112222", Names: []string{"mail.example.org"}}, "mail.example.org"},
		{"aaaa", admin.CertificateExported{ID: "aaaa11112222", Names: []string{"..", "mail.example.org"}}, "aaaa11112222"},
		{"aaaa", admin.CertificateExported{ID: "aaaa11112222"}, "aaaa"},
		{"..", admin.CertificateExported{ID: "aaaa11112222", Names: []string{".."}}, "aaaa11112222"},
		{"aaaa", admin.CertificateExported{ID: "aaaa11112222", Names: []string{"mail.example.org"}, Kind: "RSA 2048", Several: true}, "mail.example.org.rsa"},
	} {
		if got := exportName(tt.asked, &tt.e); got != tt.want {
			t.Errorf("%s of %v: got %q, want %q", tt.asked, tt.e.Names, got, tt.want)
		}
	}
}

func TestExportFiles(t *testing.T) {
	whole := &admin.CertificateExported{Certificate: "CERTIFICATE\n", Chain: "CHAIN\n", Key: "SECRET\n"}
	single := &admin.CertificateExported{Certificate: "OTHER\n", Key: "KEY\n"}
	there := func(dir string) (names []string) {
		t.Helper()
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			names = append(names, f.Name())
		}
		return names
	}
	three := []string{"a.chain.pem", "a.key", "a.pem"}

	dir := t.TempDir()
	w := exporting{dir: dir, link: os.Link}
	if done, err := w.write(t.Context(), "a", whole); err != nil || len(done) != 3 || done[0] != filepath.Join(dir, "a.key") {
		t.Errorf("got %v, %v, want the key first", done, err)
	}
	w.force = true
	if _, err := w.write(t.Context(), "a", single); err != nil {
		t.Error(err)
	}
	if got := there(dir); !slices.Equal(got, three[1:]) {
		t.Errorf("got %v, want the chain of the certificate before to be gone", got)
	}
	if _, err := w.write(t.Context(), "", whole); err == nil {
		t.Error("files without a name were written")
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	w = exporting{dir: t.TempDir(), link: os.Link}
	if _, err := w.write(ended, "a", whole); err == nil || len(there(w.dir)) > 0 {
		t.Errorf("interrupted: got %v, left are %v", err, there(w.dir))
	}

	// Somebody takes the second name meanwhile.
	links := 0
	w.link = func(old, name string) error {
		if links++; links == 2 {
			return fs.ErrExist
		}
		return os.Link(old, name)
	}
	if done, err := w.write(t.Context(), "a", whole); !errors.Is(err, fs.ErrExist) || len(done)+len(there(w.dir)) > 0 {
		t.Errorf("got %v, %v, left are %v", done, err, there(w.dir))
	}

	w.link = func(string, string) error { return syscall.EPERM } // as vfat has it
	if _, err := w.write(t.Context(), "a", whole); err != nil {
		t.Error(err)
	}
	if got := there(w.dir); !slices.Equal(got, three) {
		t.Errorf("without links: got %v", got)
	}
	info, err := os.Stat(filepath.Join(w.dir, "a.key"))
	if content, _ := os.ReadFile(filepath.Join(w.dir, "a.key")); err != nil || info.Mode() != 0o600 || string(content) != whole.Key {
		t.Errorf("without links: got %q, %v", content, err)
	}
	if _, err := w.write(t.Context(), "a", whole); err == nil {
		t.Error("it was overwritten")
	}
}
