package forward_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// An openssl is a running s_client: what it is told it sends, but for input that
// begins with K, k, Q or R, which are commands.
type openssl struct {
	in  io.WriteCloser
	out *bufio.Reader
	end func()
}

func startOpenSSL(t *testing.T, args ...string) *openssl {
	t.Helper()
	bin, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI")+os.Getenv("USHER_REQUIRE_REAL")+os.Getenv(insideVar) != "" {
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

// say types text.
func (o *openssl) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(o.in, text); err != nil {
		t.Fatal(err)
	}
}

// command has OpenSSL send a KeyUpdate. What is typed before it has done so would
// be taken for a part of the command.
func (o *openssl) command(t *testing.T, letter string) {
	t.Helper()
	o.say(t, letter+"\n")
	o.until(t, "KEYUPDATE\n")
}

// until reads up to a line that ends with text.
func (o *openssl) until(t *testing.T, text string) {
	t.Helper()
	var seen strings.Builder
	for {
		line, err := o.out.ReadString('\n')
		seen.WriteString(line)
		if strings.HasSuffix(line, text) {
			return
		}
		if err != nil {
			t.Fatalf("openssl did not say %q: %v, but:\n%s", text, err, seen.String())
		}
	}
}

// choose makes OpenSSL offer one suite, by its own name for it.
func choose(s scene) []string {
	name := tls.CipherSuiteName(uint16(s.suite))
	if s.version == record.TLS13 {
		return []string{"-tls1_3", "-ciphersuites", name}
	}
	name = strings.NewReplacer(
		"TLS_", "", "_WITH", "", "AES_", "AES", "_SHA256", "", "CHACHA20_POLY1305", "CHACHA20-POLY1305",
	).Replace(strings.Replace(name, "GCM_SHA", "GCM-SHA", 1))
	return []string{"-tls1_2", "-cipher", strings.ReplaceAll(name, "_", "-")}
}

// openSSL makes a session with s_client in front of a back end in plaintext.
func (st *stage) openSSL(t *testing.T, resumed bool, args ...string) (*session, *openssl) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_ = l.SetDeadline(time.Now().Add(patience))
	args = append(append([]string{"s_client", "-brief", "-connect", l.Addr().String()}, choose(st.scene)...), args...)
	o := startOpenSSL(t, args...)
	raw, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(patience))
	c, err := handshake.Server(t.Context(), raw, st.ours[0])
	if err != nil {
		t.Fatal(err)
	}
	st.check(t, c.ConnectionState(), resumed)
	var h halves
	h.ours[0], h.ahead[0] = st.detach(t, c)
	h.peer[1], h.ours[1], h.ahead[1] = st.side(t, 1, false, setup{})
	return st.adopt(t, setup{}, h), o
}

// round has the two talk.
func (s *session) round(o *openssl, name string) {
	s.t.Helper()
	o.say(s.t, "ping "+name+"\n")
	s.server.hear(s.t, "ping "+name+"\n")
	if _, err := fmt.Fprintf(s.server, "pong %s\n", name); err != nil {
		s.t.Fatal(err)
	}
	o.until(s.t, "pong "+name+"\n")
}

// OpenSSL as the client, with each suite, full and resumed, and with KeyUpdates
// by its commands.
func TestPathOpenSSL(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		rekeys := p.rekeys(t)
		for _, version := range versions {
			for _, suite := range record.Suites(version) {
				t.Run(tls.CipherSuiteName(uint16(suite)), func(t *testing.T) {
					st := newStage(t, p, scene{version: version, suite: suite})
					file := filepath.Join(t.TempDir(), "session")
					for _, resumed := range []bool{false, true} {
						s, o := st.openSSL(t, resumed, map[bool]string{false: "-sess_out", true: "-sess_in"}[resumed], file)
						s.round(o, "first")
						for i, command := range []string{"K", "k", "K", "k"} { // asks for an answer, does not
							if version == record.TLS13 && rekeys {
								o.command(t, command)
							}
							s.round(o, fmt.Sprint("after ", command, i))
						}
						const lines = 1500
						line := strings.Repeat("a much longer line ", 4) // no command within
						go func() { _, _ = io.WriteString(o.in, strings.Repeat(line+"\n", lines)) }()
						s.server.hear(t, strings.Repeat(line+"\n", lines))
						go func() { _, _ = io.WriteString(s.server, strings.Repeat(line+"\n", lines)+"all\n") }()
						o.until(t, "all\n")
						_ = o.in.Close()
						if got, err := s.server.ended(); err != nil || got != "" {
							t.Errorf("at the end: %q, %v", got, err)
						}
						s.server.closeWrite(t)
						o.end()
						if res := s.end(); res.End != forward.ClientClosed || res.Err != nil {
							t.Errorf("account %+v", res)
						}
					}
				})
			}
		}
	})
}

// A kernel that cannot change keys ends the session when OpenSSL changes its.
func TestPathOpenSSLKeyUpdateRefused(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		if p.rekeys(t) {
			return // TestPathOpenSSL goes on
		}
		for _, command := range []string{"K", "k"} {
			s, o := newStage(t, p, scene{suite: record.AES128GCM}).openSSL(t, false)
			s.round(o, "first")
			o.command(t, command)
			s.lost(0)
		}
	})
}

// What may choose kernel TLS does so where the kernel can do all that a session
// may ask for, and never else.
func TestPathAuto(t *testing.T) {
	for _, mode := range []forward.KernelMode{forward.KernelOff, forward.KernelAuto} {
		for _, version := range versions {
			want := "user"
			if mode == forward.KernelAuto && kernelTLS(t) && (version == record.TLS12 || kernelRekeys(t)) {
				want = "ktls"
			}
			for _, l := range layouts {
				t.Run(fmt.Sprint(mode, "/", tls.VersionName(version), "/", l.name), func(t *testing.T) {
					p := &path{name: want, engine: reactor(t, mode)}
					run(t, p.engine)
					s := newStage(t, p, scene{version: version}).open(t, setup{layout: l})
					s.exchange(pattern(1000, 1), pattern(1000, 2))
					s.finish()
				})
			}
		}
	}
}
