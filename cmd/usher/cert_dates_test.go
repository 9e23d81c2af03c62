package main

import (
	"crypto/tls"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/balancertest"
)

// TestDatesKeepNobodyOut brings a node up, and has it read its configuration again,
// with certificates that are over or not yet valid: its clock may be wrong, and mail
// with such a certificate is better than none. It says so wherever somebody looks.
func TestDatesKeepNobodyOut(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name     string
		from, to time.Time
		checked  string // what usher check says
		degraded string // what /readyz says
		logged   string
	}{
		{
			"expired", now.AddDate(0, 0, -90), now.AddDate(0, 0, -1),
			"and others refuse it: renew it; it is ", "degraded: certificate mail.example.org has expired\n", "a certificate has expired and is shown for want of a better one",
		},
		{
			"of the future", now.AddDate(0, 0, 1), now.AddDate(0, 0, 90),
			"by the clock of this host: is that right?", "degraded: certificate mail.example.org is not valid before ", "a certificate is not valid yet",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ca := balancertest.NewAuthority(t)
			dir := t.TempDir()
			write := func(from, to time.Time) tls.Certificate {
				cert := ca.Dated(from, to, "mail.example.org")
				_, crt, key := ca.Files(cert)
				for name, at := range map[string]string{"mail.pem": crt, "mail.key": key} {
					if err := os.Rename(at, filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
				return cert
			}
			cert := write(tt.from, tt.to)
			p := newPlant(t)
			p.mail("mail1", "mail1")
			p.socket = filepath.Join(t.TempDir(), "usher.sock")
			p.more = fmt.Sprintf("[[listener]]\nname = \"imaps\"\naddress = \"127.0.0.2:0\"\nprotocol = \"imap\"\n"+
				"certificates = [{ cert_file = %q, key_file = %q }]\n", filepath.Join(dir, "mail.pem"), filepath.Join(dir, "mail.key"))
			p.start()
			shows := func(want tls.Certificate) bool {
				conn, err := tls.Dial("tcp", p.node.server.Addr("imaps").String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // no client believes its dates
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				return slices.Equal(conn.ConnectionState().PeerCertificates[0].Raw, want.Certificate[0])
			}
			readyz := func() string {
				w := httptest.NewRecorder()
				p.node.ready.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
				return fmt.Sprint(w.Code, " ", w.Body)
			}
			if !shows(cert) {
				t.Error("another certificate is shown")
			}
			if got := readyz(); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, tt.degraded) {
				t.Errorf("/readyz: got %q, want %q", got, tt.degraded)
			}
			await(t, "the log to tell of it", func() bool { return strings.Contains(p.log.String(), tt.logged) })
			if out, status, _ := run(t, "cert", "list", "--check", "--socket", p.socket); status != exitFailed || !strings.Contains(out, "mail.example.org") {
				t.Errorf("usher cert list --check: got %d and %s", status, out)
			}
			out, status, err := run(t, "check", "--config", p.path)
			if status != 0 || strings.Count(out, "mail.pem") != 1 || !strings.Contains(out, tt.checked) {
				t.Errorf("usher check: got %d, %v and %s, want 0 and one warning of it", status, err, out)
			}

			p.reload()
			if !shows(cert) {
				t.Error("another certificate is shown after a reload")
			}
			good := write(now.Add(-time.Hour), now.AddDate(0, 0, 90))
			p.reload()
			if !shows(good) {
				t.Error("the certificate that is good now is not shown")
			}
			if got := readyz(); strings.Contains(got, "certificate") {
				t.Errorf("/readyz: got %q of a good one", got)
			}
		})
	}
}
