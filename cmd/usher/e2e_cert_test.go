package main_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// selfSigned is a certificate of nobody's, and its key, in PEM.
func selfSigned(t testing.TB, key crypto.Signer, from, to time.Time, names ...string) (cert, private string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(to.Unix()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func ecdsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestCertificateFollowsItsFile exchanges certificates under a node that nobody
// tells: who is connected stays, the next handshake has the new one, also where
// it resumes; what is of no use changes nothing, and what ends soon is told.
func TestCertificateFollowsItsFile(t *testing.T) {
	srv, _ := pair(t, dovecot.Options{})
	s := newSite(t, "shared", srv)
	p := s.serve()
	var sessions []*client
	for _, door := range doors {
		c := enter(t, s, door, entry{})
		if verdict := c.login("joe", "secret"); !good(verdict) {
			t.Fatalf("%s: %s", door, verdict)
		}
		sessions = append(sessions, c)
	}
	shown := func(port int) string { return fmt.Sprint(presented(t, s, port)) }
	first := shown(portIMAPS)
	s.renew()
	eventually(t, "the new certificate is shown", func() bool { return shown(portIMAPS) != first })
	second := shown(portIMAPS)
	if got := shown(portPOP3S); got != second {
		t.Errorf("POP3S: got %s, want %s", got, second)
	}
	for i, c := range sessions {
		if !c.works() {
			t.Errorf("%s: a session ended with the certificate: %v", doors[i], c.err)
		}
	}
	if status, body := p.ask("/readyz"); status != http.StatusOK || body != "ready\n" {
		t.Errorf("got %d %q", status, body)
	}

	s.put(s.file("cert.pem"), "rubbish")
	p.log.await(t, `level=WARN msg="a file of certificates needs somebody.*cert.pem: no certificate in it`, 1)
	if got := shown(portIMAPS); got != second {
		t.Errorf("got %s, want %s", got, second)
	}
	if line := p.reload(t, s); !strings.Contains(line, "the configuration is not good") || !strings.Contains(line, "cert.pem") {
		t.Errorf("got %s", line)
	}
	labels := []string{`name="` + serverName + `"`, `listener="imaps"`}
	if p.metric(t, "usher_cert_problem", labels...) != 1 {
		t.Error("no metric tells of it")
	}

	end := time.Now().Add(3*24*time.Hour + time.Hour)
	cert, key := selfSigned(t, ecdsaKey(t), time.Now().AddDate(0, 0, -80), end, serverName)
	s.put(s.file("key.pem"), key)
	s.put(s.file("cert.pem"), cert)
	const line = "ready\ndegraded: certificate " + serverName + " expires in 3 d\n"
	eventually(t, "it is said to end soon", func() bool { _, body := p.ask("/readyz"); return body == line })
	if got := p.metric(t, "usher_cert_not_after_timestamp_seconds", labels...); int64(got) != end.Unix() {
		t.Errorf("got %v, want %d", got, end.Unix())
	}
	p.signal(1) // SIGHUP: the same, and an expired one is no reason to fail a session
	if line := p.log.await(t, `msg="configuration reloaded"`, 1)[0]; line == "" {
		t.Error("no reload")
	}
	for i, c := range sessions {
		if !c.works() {
			t.Errorf("%s: %v", doors[i], c.err)
		}
	}
}

// sClient runs openssl s_client to a door and returns what it says; it ends after
// the greeting.
func (s *site) sClient(t testing.TB, door string, args ...string) string {
	t.Helper()
	ports := map[string]int{"imaps": portIMAPS, "imap": portIMAP, "pop3s": portPOP3S, "pop3": portPOP3, "old": portExtra}
	args = append([]string{"s_client", "-connect", hostPort(s.host, ports[door]), "-CAfile", s.authority.File, "-servername", serverName}, args...)
	if door == "imap" || door == "pop3" {
		args = append(args, "-starttls", door)
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Stdin = strings.NewReader("Q\n")
	out, _ := cmd.CombinedOutput() // that it was refused is in it
	return string(out)
}

// TestALPN: who means another protocol is refused, also when he resumes a session
// (the ALPACA attacks); who says nothing is served.
func TestALPN(t *testing.T) {
	require(t, "openssl")
	srv, _ := pair(t, dovecot.Options{})
	s := newSite(t, "shared", srv)
	s.serve()
	const refused = "no application protocol"
	for _, door := range doors {
		own, other := "imap", "pop3"
		if strings.HasPrefix(door, "pop3") {
			own, other = other, own
		}
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			ticket := filepath.Join(t.TempDir(), "ticket")
			for _, tt := range []struct {
				what string
				args []string
				want string
			}{
				{"nothing", []string{"-sess_out", ticket}, "No ALPN negotiated"},
				{"ours", []string{"-alpn", own}, "ALPN protocol: " + own},
				{"ours among others", []string{"-alpn", "h2," + own}, "ALPN protocol: " + own},
				{"another", []string{"-alpn", "h2"}, refused},
				{"the other mail protocol", []string{"-alpn", other}, refused},
				{"a CA's question, that nobody expects", []string{"-alpn", "acme-tls/1"}, refused},
				{"resumed with nothing", []string{"-sess_in", ticket}, "Reused, "},
				{"resumed with another", []string{"-sess_in", ticket, "-alpn", "h2"}, refused},
			} {
				if out := s.sClient(t, door, append(tt.args, version)...); !strings.Contains(out, tt.want) {
					t.Errorf("%s %s, %s: no %q in\n%s", door, version, tt.what, tt.want, out)
				}
			}
		}
	}
}

// TestVersionsAndSuites: TLS 1.2 with ephemeral keys and AEAD at least, a hybrid
// key exchange at best; and a listener for devices that can no better.
func TestVersionsAndSuites(t *testing.T) {
	require(t, "openssl")
	srv, _ := pair(t, dovecot.Options{})
	s := newSite(t, "shared", srv)
	cert, key := selfSigned(t, rsaKey(t), time.Now().Add(-time.Hour), time.Now().AddDate(0, 0, 90), serverName)
	s.put(s.file("rsa.pem"), cert+key)
	both := fmt.Sprintf("certificates = [{ cert_file = %q, key_file = %q }, { cert_file = %q, key_file = %q }]\n",
		s.file("cert.pem"), s.file("key.pem"), s.file("rsa.pem"), s.file("rsa.pem"))
	s.listeners[0].more = both
	s.listeners = append(s.listeners, listener{name: "old", protocol: "imap", tls: "implicit", port: portExtra, more: "tls_min = \"1.0\"\n" + both})
	s.serve()
	lax := func(suite string) []string { return []string{"-cipher", suite + ":@SECLEVEL=0"} }
	for _, tt := range []struct {
		door string
		args []string
		want string // in what openssl says; empty: refused
	}{
		{"imaps", []string{"-tls1_3"}, "TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"},
		{"imaps", append(lax("ECDHE-ECDSA-AES128-GCM-SHA256"), "-tls1_2"), "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"},
		{"imaps", append(lax("ECDHE-RSA-CHACHA20-POLY1305"), "-tls1_2"), "Cipher is ECDHE-RSA-CHACHA20-POLY1305"},
		{"imaps", append(lax("ECDHE-RSA-AES128-SHA256"), "-tls1_2"), ""},
		{"imaps", append(lax("ECDHE-RSA-AES128-SHA"), "-tls1_2"), ""},
		{"imaps", append(lax("AES128-GCM-SHA256"), "-tls1_2"), ""},
		{"imaps", append(lax("AES128-SHA"), "-tls1_2"), ""},
		{"imaps", append(lax("DEFAULT"), "-tls1_1"), ""},
		{"imaps", append(lax("DEFAULT"), "-tls1"), ""},
		{"old", []string{"-tls1_3"}, "TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"},
		{"old", append(lax("DEFAULT"), "-tls1_2"), "GCM-SHA"},
		{"old", append(lax("DEFAULT"), "-tls1_1"), "TLSv1.1"},
		{"old", append(lax("DEFAULT"), "-tls1"), "TLSv1.0, Cipher"},
		{"old", append(lax("ECDHE-RSA-AES128-SHA"), "-tls1"), "Cipher is ECDHE-RSA-AES128-SHA"},
		{"old", append(lax("AES128-SHA"), "-tls1"), "Cipher is AES128-SHA"},
	} {
		out := s.sClient(t, tt.door, tt.args...)
		if tt.want == "" {
			tt.want = "Cipher is (NONE)"
		}
		if !strings.Contains(out, tt.want) {
			t.Errorf("%s %v: no %q in\n%s", tt.door, tt.args, tt.want, out)
		}
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		ancient := s.clientTLS()
		ancient.MinVersion, ancient.MaxVersion = version, version
		c := enter(t, s, "imaps", entry{tls: ancient, port: portExtra})
		if verdict := c.login("joe", "secret"); !good(verdict) || !c.works() {
			t.Errorf("%s: %s, %v", tls.VersionName(version), verdict, c.err)
		}
	}
	client := s.clientTLS()
	client.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	c, err := tls.Dial("tcp", hostPort(s.host, portIMAPS), client)
	if err != nil {
		t.Fatalf("X25519MLKEM768: %v", err)
	}
	c.Close()
}
