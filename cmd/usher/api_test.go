package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cmd/internal/dovecot"
)

// A remotePlant is a node with the API over TCP. The certificates are OpenSSL's.
type remotePlant struct {
	*served
	dir, url string
}

var apiAddress = regexp.MustCompile(`served over TCP" address=(\S+)`)

// shell runs a program and returns what it printed.
func shell(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	return string(out), err
}

// openssl makes a key and a certificate of the CA, in NAME.pem and NAME.key.
func (r *remotePlant) openssl(ca, name, subject string, more ...string) {
	r.t.Helper()
	file := func(suffix string) string { return filepath.Join(r.dir, name+suffix) }
	args := []string{"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file(".key"), "-out", file(".pem"), "-subj", subject, "-days", "2"}
	if ca != "" {
		args = append(args, "-CA", filepath.Join(r.dir, ca+".pem"), "-CAkey", filepath.Join(r.dir, ca+".key"), "-addext", "basicConstraints=critical,CA:false")
	}
	if out, err := shell(r.t, "openssl", append(args, more...)...); err != nil {
		r.t.Fatalf("openssl: %v\n%s", err, out)
	}
}

// past is openssl with a certificate that has ended.
func (r *remotePlant) past(ca, name, subject string) {
	r.t.Helper()
	file := func(name string) string { return filepath.Join(r.dir, name) }
	for _, args := range [][]string{
		{"req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file(name + ".key"), "-out", file(name + ".csr"), "-subj", subject},
		{"x509", "-req", "-in", file(name + ".csr"), "-CA", file(ca + ".pem"), "-CAkey", file(ca + ".key"), "-days", "-1", "-out", file(name + ".pem")},
	} {
		if out, err := shell(r.t, "openssl", args...); err != nil {
			r.t.Fatalf("openssl: %v\n%s", err, out)
		}
	}
}

// token makes one by the command, and returns the file that it is in.
func (r *remotePlant) token(name, role string) string {
	r.t.Helper()
	out, status, err := run(r.t, "admin", "token", name, "--role", role, "--file", filepath.Join(r.dir, "tokens"))
	token := out[strings.LastIndex(strings.TrimSuffix(out, "\n"), "\n")+1:]
	if status != 0 || !strings.HasPrefix(token, "usher_") {
		r.t.Fatalf("got %d, %v: %s", status, err, out)
	}
	file := filepath.Join(r.dir, name+".token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file
}

func openRemote(t *testing.T) *remotePlant {
	t.Helper()
	p := newPlant(t)
	p.mail("mail1", "mail1")
	r := &remotePlant{dir: t.TempDir(), served: &served{plant: p}}
	p.socket = filepath.Join(r.dir, "sock")
	r.openssl("", "ca", "/CN=our servers")
	r.openssl("", "clients", "/CN=our clients")
	r.openssl("ca", "api", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1")
	p.more = fmt.Sprintf("[admin.api]\naddress = \"127.0.0.1:0\"\ncert_file = \"%[1]s/api.pem\"\nkey_file = \"%[1]s/api.key\"\nclient_ca_file = \"%[1]s/clients.pem\"\ntoken_file = \"%[1]s/tokens\"\noperators = [\"OU=mail\"]\n", r.dir)
	return r
}

func (r *remotePlant) open() {
	r.t.Helper()
	r.served = r.plant.serve()
	r.url = "https://" + apiAddress.FindStringSubmatch(r.log.String())[1]
}

// curl returns the status of an answer, or 0, and its body.
func (r *remotePlant) curl(path string, args ...string) (status, body string) {
	r.t.Helper()
	out, err := shell(r.t, "curl", append([]string{"-sS", "--max-time", "20", "--cacert", filepath.Join(r.dir, "ca.pem"), "-w", "\n%{http_code}", r.url + path}, args...)...)
	i := strings.LastIndex(out, "\n")
	if err != nil && i < 0 {
		r.t.Fatalf("curl: %v: %s", err, out)
	}
	return out[i+1:], out[:i]
}

// A stopAt calls stop when it has been written a text.
type stopAt struct {
	*strings.Builder
	text string
	stop func()
}

func (s stopAt) Write(b []byte) (int, error) {
	n, err := s.Builder.Write(b)
	if strings.Contains(s.String(), s.text) {
		s.stop()
	}
	return n, err
}

// TestRemoteAPI asks a whole node with curl and with usher's own commands, by tokens and
// by certificates, and takes a token back.
func TestRemoteAPI(t *testing.T) {
	dovecot.Require(t, "openssl", "curl")
	r := openRemote(t)
	ann, bob := r.token("ann", "read"), r.token("bob", "operate")
	r.open()
	for name, subject := range map[string]string{"carol": "/CN=carol", "dan": "/OU=mail/CN=dan"} {
		r.openssl("clients", name, subject)
	}
	r.past("clients", "past", "/OU=mail/CN=past")
	r.openssl("ca", "other", "/OU=mail/CN=other")
	bearer := func(file string) []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"-H", "Authorization: Bearer " + strings.TrimSpace(string(text))}
	}
	pair := func(name string) []string {
		return []string{"--cert", filepath.Join(r.dir, name+".pem"), "--key", filepath.Join(r.dir, name+".key")}
	}
	for _, tt := range []struct {
		name, path   string
		args         []string
		status, want string
	}{
		{"a token that reads", admin.StatusPath, bearer(ann), "200", `"pools"`},
		{"it names no user", admin.SessionsPath, bearer(ann), "403", "this needs the role operate"},
		{"a token that operates", admin.SessionsPath, bearer(bob), "200", `"sessions"`},
		{"nothing", admin.StatusPath, nil, "401", "usher admin token"},
		{"a certificate", admin.WhoamiPath, pair("carol"), "200", `"name":"carol","role":"read","via":"certificate"`},
		{"of the unit", admin.WhoamiPath, pair("dan"), "200", `"name":"dan","role":"operate"`},
		{"expired", admin.WhoamiPath, pair("past"), "000", ""},
		{"of another CA", admin.WhoamiPath, pair("other"), "000", ""},
		{"TLS 1.1", admin.WhoamiPath, append(bearer(ann), "--tls-max", "1.1"), "000", ""},
		{"alive", "/healthz", nil, "200", ""},
	} {
		if status, body := r.curl(tt.path, tt.args...); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: got %s %s, want %s and %s", tt.name, status, body, tt.status, tt.want)
		}
	}

	if !strings.Contains(r.log.String(), "certificate has expired") {
		t.Errorf("the log does not say why the first one was refused:\n%s", r.log.String())
	}
	cli := []string{"--api", r.url, "--ca", filepath.Join(r.dir, "ca.pem")}
	ask := func(args ...string) (string, int, error) { t.Helper(); return run(t, append(args, cli...)...) }
	if out, status, err := ask("admin", "whoami", "--client-cert", filepath.Join(r.dir, "dan.pem"), "--client-key", filepath.Join(r.dir, "dan.key")); status != 0 || !strings.HasPrefix(out, "dan, by certificate, has the role operate\n") {
		t.Errorf("got %d, %v: %s", status, err, out)
	}
	if out, status, err := ask("backend", "weight", "mail1", "7", "--token-file", bob); status != 0 {
		t.Errorf("got %d, %v: %s", status, err, out)
	}
	if _, status, err := ask("backend", "drain", "mail1", "--token-file", ann); status != exitFailed || !strings.Contains(err.Error(), "the role operate, and ann has the role read") {
		t.Errorf("got %d, %v", status, err)
	}
	t.Setenv("USHER_API", r.url)
	t.Setenv("USHER_CA", filepath.Join(r.dir, "ca.pem"))
	t.Setenv("USHER_TOKEN_FILE", ann)
	out, status, err := run(t, "backend", "list", "--json")
	var list admin.Backends
	if status != 0 || json.Unmarshal([]byte(out), &list) != nil || len(list.Backends) != 1 || list.Backends[0].Weight != 7 || list.Backends[0].By != "bob" {
		t.Errorf("got %d, %v: %s", status, err, out)
	}
	if out, status, err := run(t, "admin", "whoami", "--socket", r.socket); status != 0 || !strings.Contains(out, "has the role socket") {
		t.Errorf("the socket goes before the environment: got %d, %v: %s", status, err, out)
	}
	client, err := remoteClient(map[string]string{"api": r.url, "ca": filepath.Join(r.dir, "ca.pem"), "token-file": ann})
	if err != nil {
		t.Fatal(err)
	}
	following, enough := context.WithTimeout(t.Context(), 30*time.Second)
	defer enough()
	var said, noted strings.Builder
	if err := client.followEvents(following, url.Values{"since": {"1h"}}, &eventPrinter{out: stopAt{&said, "backend_changed", enough}, err: &noted}); err != nil || !strings.Contains(said.String(), "backend_changed") {
		t.Errorf("following over TCP: got %v: %s%s", err, &said, &noted)
	}
	if log := r.log.String(); !strings.Contains(log, "by=bob") || strings.Contains(log, "usher_") && strings.Contains(log, bearer(bob)[1][22:]) {
		t.Errorf("want the order signed, and no token:\n%s", log)
	}

	// Ann's token is taken back, and eve gets one.
	tokens := filepath.Join(r.dir, "tokens")
	text, err := os.ReadFile(tokens)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(tokens, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, status, err := run(t, "check", "-c", r.path); status != exitFailed || !strings.Contains(err.Error(), "line 1: want a name, a role and a hash") {
		t.Errorf("check: got %d, %v", status, err)
	}
	r.orders.reload <- os.Interrupt
	r.logged("the configuration is not good", 1)
	if status, _ := r.curl(admin.StatusPath, bearer(ann)...); status != "200" {
		t.Errorf("a bad file has shut out who was in: got %s", status)
	}
	if err := os.WriteFile(tokens, []byte(rest), 0o600); err != nil {
		t.Fatal(err)
	}
	eve := r.token("eve", "read")
	r.reread(1)
	if status, _ := r.curl(admin.StatusPath, bearer(ann)...); status != "401" {
		t.Errorf("ann: got %s", status)
	}
	if status, _ := r.curl(admin.StatusPath, bearer(eve)...); status != "200" {
		t.Errorf("eve: got %s", status)
	}
}

// TestRemoteFlags: what cannot be asked is not asked.
func TestRemoteFlags(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("usher_x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"--api http://127.0.0.1:1 --token-file x", exitUsage, "want https://"},
		{"--api 127.0.0.1:1 --token-file x", exitUsage, "want https://"},
		{"--api https://ann:secret@127.0.0.1:1", exitUsage, "want https://"},
		{"--api https://127.0.0.1:1/v1", exitUsage, "want https://"},
		{"--api https://127.0.0.1:1", exitUsage, "who asks"},
		{"--api https://127.0.0.1:1 --socket /x", exitUsage, "say one of them"},
		{"--api https://127.0.0.1:1 --token-file " + open, exitFailed, "chmod"},
		{"--api https://127.0.0.1:1 --ca " + open, exitFailed, "no certificate in PEM"},
		{"--api https://127.0.0.1:1 --client-cert " + open, exitFailed, "--client-cert"},
	} {
		if _, status, err := run(t, append([]string{"status"}, strings.Fields(tt.args)...)...); status != tt.status || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %d, %v; want %d and %s", tt.args, status, err, tt.status, tt.want)
		}
	}
	if err := os.Chmod(open, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, status, err := run(t, "status", "--api", "https://"+freeAddress(t), "--token-file", open); status != exitTemporary || !strings.Contains(err.Error(), "[admin.api]") {
		t.Errorf("nobody there: got %d, %v", status, err)
	}
}

// TestTokenCommand makes tokens without a file, and refuses to add to one that is bad.
func TestTokenCommand(t *testing.T) {
	out, status, err := run(t, "admin", "token", "ann")
	words := strings.Fields(out)
	if status != 0 || len(words) != 4 || !strings.HasPrefix(words[0], "usher_") || words[1] != "ann" || words[2] != "read" {
		t.Fatalf("got %d, %v: %s", status, err, out)
	}
	if all, err := admin.ParseTokens([]byte(strings.Join(words[1:], " "))); err != nil || all.Len() != 1 {
		t.Errorf("the line is not good: %v", err)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	for range 2 { // the second is for an exchange
		if out, status, err := run(t, "admin", "token", "ann", "--file", file); status != 0 || !strings.Contains(out, "reload usher") {
			t.Errorf("got %d, %v: %s", status, err, out)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	before, err := os.ReadFile(file)
	if err != nil || strings.Count(string(before), "\n") != 2 {
		t.Fatalf("got %s, %v", before, err)
	}
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"admin token", exitUsage, "arg"},
		{"admin token a=b", exitUsage, "1 to 64 letters"},
		{"admin token ann --role root", exitUsage, "want read or operate"},
		{"admin token ann --role operate --file " + file, exitFailed, "the line is not added"},
	} {
		if out, status, err := run(t, strings.Fields(tt.args)...); status != tt.status || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(out, "usher_") {
			t.Errorf("%s: got %d, %v, %s", tt.args, status, err, out)
		}
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the file has changed: %s, %v", after, err)
	}
}
