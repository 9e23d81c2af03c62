package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCertLab makes a laboratory, puts what is printed into a configuration, and
// has it examined.
func TestCertLab(t *testing.T) {
	dir := t.TempDir()
	lab := filepath.Join(dir, "lab")
	out, status, err := run(t, "cert", "lab", lab, "--name", "mail.example.org", "--name", "*.example.org")
	if status != 0 {
		t.Fatalf("got %d, %v", status, err)
	}
	_, text, _ := strings.Cut(out, "  [[certificate]]\n")
	text, _, ok := strings.Cut(text, "\n\n")
	if !ok || !strings.Contains(out, filepath.Join(lab, "ca.pem")) {
		t.Fatalf("got %q", out)
	}
	const rest = "[[listener]]\nname = \"imaps\"\naddress = \"127.0.0.1:0\"\nprotocol = \"imap\"\n" +
		"[[pool]]\nname = \"main\"\nstorage = \"shared\"\n[[pool.backend]]\nname = \"a\"\nhost = \"127.0.0.1\"\nimap_port = 143\n"
	file := filepath.Join(dir, "usher.toml")
	check := func(certificate string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte("[[certificate]]\n"+certificate+"\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := load(t.Context(), file)
		if err != nil {
			return err.Error()
		}
		return warnings.Error()
	}
	if got := check(text); strings.Contains(got, "cert") {
		t.Errorf("got %q", got)
	}
	if out, status, err = run(t, "cert", "lab", lab, "--name", "mail.example.org"); status != 0 || !strings.HasPrefix(out, "renewed ") {
		t.Errorf("again: got %d, %v, %q", status, err, out)
	}
	for _, args := range [][]string{{"cert", "lab", lab}, {"cert", "lab", lab, "x", "--name", "a"}} {
		if _, status, err := run(t, args...); status != 2 {
			t.Errorf("%q: got %d, %v, want 2", args, status, err)
		}
	}

	// A directory: what is broken in it is a warning, unless there is nothing else.
	dirs := "cert_dir = \"lab\""
	if got := check(dirs); strings.Contains(got, "cert") {
		t.Errorf("got %q", got)
	}
	bad := filepath.Join(lab, "broken.pem")
	if err := os.WriteFile(bad, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := check(dirs); strings.Count(got, "warning: certificate: ") != 1 || !strings.Contains(got, "usher.toml:1:3: warning: certificate: "+bad+": certificate 1 in it: x509: ") {
		t.Errorf("got %q", got)
	}
	if err := os.Remove(filepath.Join(lab, "mail.example.org.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(lab, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if got := check(dirs); !strings.Contains(got, bad) || !strings.Contains(got, "its key is not in") {
		t.Errorf("got %q", got)
	}
}
