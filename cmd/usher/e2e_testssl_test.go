package main_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// accepted are findings of testssl.sh, by id, that are not usher's, and why.
var accepted = map[string]string{
	"engine_problem":  "WARN: Debian's OpenSSL has no GOST engine, which testssl.sh would have liked to try",
	"cert_revocation": "HIGH: the laboratory's CA has neither CRL nor OCSP; those of real certificates are their CAs' matter",
}

// A finding is an entry of testssl.sh's report.
type finding struct{ ID, Severity, Finding string }

// severe are the severities that must not be: those above LOW, and those that say
// that a check was not done.
var severe = []string{"WARN", "MEDIUM", "HIGH", "CRITICAL", "FATAL"}

// TestTestssl has testssl.sh judge a listener with implicit TLS and one with
// STARTTLS, in all ways: protocols, suites, key exchange, preferences, the
// certificate and all known holes. That is 34 s of two processors.
func TestTestssl(t *testing.T) {
	require(t, "testssl", "openssl")
	srv := dovecot.Start(t, dovecot.Options{})
	s := newSite(t, "shared", srv)
	lab := filepath.Join(s.dir, "lab")
	p := s.launchLab(t, lab)
	checks := []string{"-p", "-s", "-f", "-P", "-S", "-U"}
	reports := make([][]finding, 2)
	var wg sync.WaitGroup
	for i, args := range [][]string{append(slices.Clone(checks), p.addr(portIMAPS)), append(slices.Clone(checks), "-t", "imap", p.addr(portIMAP))} {
		wg.Go(func() { reports[i] = testssl(t, filepath.Join(lab, "ca.pem"), s.host, args) })
	}
	wg.Wait()
	for i, name := range []string{"IMAPS", "STARTTLS"} {
		found := make(map[string]string)
		for _, f := range reports[i] {
			found[f.ID] = f.Finding
			if slices.Contains(severe, f.Severity) && accepted[f.ID] == "" {
				t.Errorf("%s: %s: %s: %s", name, f.Severity, f.ID, f.Finding)
			}
		}
		// It has looked, and at usher.
		for id, want := range map[string]string{
			"TLS1": "not offered", "TLS1_1": "not offered", "TLS1_2": "offered", "TLS1_3": "offered with final",
			"cipherlist_AVERAGE": "not offered", "cipherlist_3DES_IDEA": "not offered", "cipherlist_STRONG": "offered",
			"cert_chain_of_trust": "passed.", "cert_commonName": serverName, "cert_trust": "Ok via SAN",
		} {
			if !strings.HasPrefix(found[id], want) {
				t.Errorf("%s: %s: got %q, want %q", name, id, found[id], want)
			}
		}
		for _, id := range []string{"heartbleed", "CCS", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "fallback_SCSV", "SWEET32", "BEAST", "LUCKY13", "RC4"} {
			if !slices.ContainsFunc(reports[i], func(f finding) bool { return f.ID == id && (f.Severity == "OK" || f.Severity == "INFO") }) {
				t.Errorf("%s: %s was not looked at, or is not good", name, id)
			}
		}
	}
}

// launchLab serves the site with a certificate of usher's own laboratory.
func (s *site) launchLab(t *testing.T, lab string) *proc {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, "", binary, "cert", "lab", lab, "--name", serverName, "--name", s.host)
	for from, to := range map[string]string{".pem": "cert.pem", ".key": "key.pem"} {
		text, err := os.ReadFile(filepath.Join(lab, serverName+from))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.put(s.file(to), string(text))
	}
	return s.serve()
}

// testssl runs testssl.sh, offline, and returns its report.
func testssl(t *testing.T, ca, host string, args []string) []finding {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	last := len(args) - 1
	_, port, err := net.SplitHostPort(args[last])
	if err != nil {
		t.Error(err)
		return nil
	}
	args = append([]string{
		"--nodns", "none", "--ip", host, "--warnings", "off", "--quiet", "--color", "0", "--openssl", "/usr/bin/openssl", "--openssl-timeout", "20",
		"--connect-timeout", "20", "--add-ca", ca, "--jsonfile", report,
	}, append(args[:last:last], net.JoinHostPort(serverName, port))...)
	cmd := exec.CommandContext(t.Context(), "testssl", args...)
	cmd.Env = append(os.Environ(), "TERM=dumb")
	out, runErr := cmd.CombinedOutput() // its status is the number of findings
	text, err := os.ReadFile(report)
	var found []finding
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		t.Errorf("testssl.sh: %v, %v\n%s", runErr, err, out)
	}
	return found
}
