package handshake_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// An openssl is a running s_client or s_server, whose standard input is sent,
// but for lines that begin with K, k or Q: those are commands.
type openssl struct {
	in  io.WriteCloser
	out *bufio.Reader
	end func()
}

func startOpenSSL(t *testing.T, args ...string) *openssl {
	t.Helper()
	bin, err := exec.LookPath("openssl")
	if err != nil {
		if cmp.Or(os.Getenv("CI"), os.Getenv("USHER_REQUIRE_REAL")) != "" {
			t.Fatalf("openssl is required here: %v", err)
		}
		t.Skipf("SKIPPED, openssl is not installed: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	cmd := exec.CommandContext(ctx, bin, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	o := &openssl{in: in, out: bufio.NewReader(r)}
	ended := false
	o.end = func() {
		if ended {
			return
		}
		ended = true
		_ = in.Close()
		_, _ = io.Copy(io.Discard, o.out)
		_ = cmd.Wait() // its status says nothing that was not seen
		cancel()
		_ = r.Close()
	}
	t.Cleanup(func() { cancel(); o.end() })
	return o
}

// say types a line.
func (o *openssl) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(o.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// until reads up to a line with text, and returns it.
func (o *openssl) until(t *testing.T, text string) string {
	t.Helper()
	var seen strings.Builder
	for {
		line, err := o.out.ReadString('\n')
		seen.WriteString(line)
		if strings.Contains(line, text) {
			return line
		}
		if err != nil {
			t.Fatalf("openssl did not say %q: %v, but:\n%s", text, err, seen.String())
		}
	}
}

// dialogue has both sides speak, and update their keys in TLS 1.3 in every way
// that there is.
func (o *openssl) dialogue(t *testing.T, c *handshake.Conn) {
	t.Helper()
	heard := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("we got %q, %v, want %q", got, err, want)
		}
	}
	round := func(name string) {
		t.Helper()
		o.say(t, "ping "+name)
		heard("ping " + name + "\n")
		if _, err := fmt.Fprintf(c, "pong %s\n", name); err != nil {
			t.Fatal(err)
		}
		o.until(t, "pong "+name)
	}
	round("first")
	if c.ConnectionState().Version != record.TLS13 {
		round("second")
		return
	}
	for i := range 3 {
		for _, command := range []string{"K", "k"} { // asks for an answer, does not
			_, before := c.Updates()
			o.say(t, command)
			updated(t, c)
			round(fmt.Sprint("after ", command, i))
			if _, ours := c.Updates(); ours-before != uint32(map[string]int{"K": 1}[command]) {
				t.Errorf("%s: we updated %d times", command, ours-before)
			}
		}
		c.SetUpdateDue()
		round(fmt.Sprint("after ours ", i))
	}
}

// updated waits for a KeyUpdate.
func updated(t *testing.T, c *handshake.Conn) {
	t.Helper()
	before, _ := c.Updates()
	for end := time.Now().Add(patience); ; {
		if now, _ := c.Updates(); now != before {
			break
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("wait for a KeyUpdate: %d, %v", n, err)
		}
		if time.Now().After(end) {
			t.Fatal("no KeyUpdate comes")
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// suiteNames are OpenSSL's.
var suiteNames = map[record.Suite]string{
	record.AES128GCM:           "TLS_AES_128_GCM_SHA256",
	record.AES256GCM:           "TLS_AES_256_GCM_SHA384",
	record.ChaCha20:            "TLS_CHACHA20_POLY1305_SHA256",
	record.ECDHEECDSAAES128GCM: "ECDHE-ECDSA-AES128-GCM-SHA256",
	record.ECDHEECDSAAES256GCM: "ECDHE-ECDSA-AES256-GCM-SHA384",
	record.ECDHEECDSAChaCha20:  "ECDHE-ECDSA-CHACHA20-POLY1305",
	record.ECDHERSAAES128GCM:   "ECDHE-RSA-AES128-GCM-SHA256",
	record.ECDHERSAAES256GCM:   "ECDHE-RSA-AES256-GCM-SHA384",
	record.ECDHERSAChaCha20:    "ECDHE-RSA-CHACHA20-POLY1305",
}

// choose makes OpenSSL offer one suite.
func choose(version uint16, suite record.Suite) []string {
	if version == record.TLS13 {
		return []string{"-tls1_3", "-ciphersuites", suiteNames[suite]}
	}
	return []string{"-tls1_2", "-cipher", suiteNames[suite]}
}

func eachSuite(t *testing.T, f func(t *testing.T, version uint16, suite record.Suite)) {
	for _, version := range []uint16{record.TLS13, record.TLS12} {
		for _, suite := range record.Suites(version) {
			t.Run(suiteNames[suite], func(t *testing.T) { f(t, version, suite) })
		}
	}
}

func TestOpenSSLClient(t *testing.T) {
	server, _ := configs()
	cfg := handshake.Prepare(server, handshake.Options{})
	eachSuite(t, func(t *testing.T, version uint16, suite record.Suite) {
		session := filepath.Join(t.TempDir(), "session")
		for _, resumed := range []bool{false, true} {
			l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			args := append([]string{"s_client", "-brief", "-connect", l.Addr().String()}, choose(version, suite)...)
			if resumed {
				args = append(args, "-sess_in", session)
			} else {
				args = append(args, "-sess_out", session)
			}
			o := startOpenSSL(t, args...)
			raw, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(patience))
			c, err := handshake.Server(t.Context(), raw, cfg)
			if err != nil {
				t.Fatal(err)
			}
			state := c.ConnectionState()
			if !c.Detachable() || state.CipherSuite != uint16(suite) || state.DidResume != resumed {
				t.Fatalf("reason %v, suite %#x, resumed %v", c.Reason(), state.CipherSuite, state.DidResume)
			}
			o.dialogue(t, c)
			_ = o.in.Close()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
			_ = c.Close()
			o.end()
			if version == record.TLS13 {
				noEarlyData(t, session)
			}
		}
	})
}

func TestOpenSSLServer(t *testing.T) {
	id := identities()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var files []string
	for i, cert := range []tls.Certificate{id.ecdsa, id.rsa} {
		der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		flag := [][2]string{{"-cert", "-key"}, {"-dcert", "-dkey"}}[i]
		files = append(files, flag[0], write(flag[0], "CERTIFICATE", cert.Certificate[0]), flag[1], write(flag[1], "PRIVATE KEY", der))
	}
	_, client := configs()
	eachSuite(t, func(t *testing.T, version uint16, suite record.Suite) {
		args := append([]string{"s_server", "-accept", "127.0.0.1:0"}, files...)
		o := startOpenSSL(t, append(args, choose(version, suite)...)...)
		_, address, _ := strings.Cut(strings.TrimSpace(o.until(t, "ACCEPT")), " ")
		client := client.Clone()
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		cfg := handshake.Prepare(client, handshake.Options{})
		for _, resumed := range []bool{false, true} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			raw := conn.(*net.TCPConn)
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(patience))
			c, err := handshake.Client(t.Context(), raw, cfg)
			if err != nil {
				t.Fatal(err)
			}
			state := c.ConnectionState()
			if !c.Detachable() || state.CipherSuite != uint16(suite) || state.DidResume != resumed {
				t.Fatalf("reason %v, suite %#x, resumed %v", c.Reason(), state.CipherSuite, state.DidResume)
			}
			o.dialogue(t, c)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
