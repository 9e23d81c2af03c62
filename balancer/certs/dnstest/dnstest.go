// Package dnstest runs real name servers, BIND and Knot, for tests: each with a
// configuration and a folder of its own, on a port of the loopback that the kernel
// chose, and gone with the test. It is for tests only.
package dnstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	// startLimit is how long a server may take to answer on a loaded machine.
	startLimit = 30 * time.Second

	// stopLimit is how long it may take to end after SIGTERM.
	stopLimit = 10 * time.Second

	// tries is for the moment between finding a free port and using it.
	tries = 3
)

// A Key is a TSIG key that a server knows.
type Key struct {
	Name      string // without a dot at its end
	Algorithm string // hmac-sha256 and the like
	Secret    string // base64
}

// Options say what a server is to know.
type Options struct {
	// Zones that it is the primary of, without a dot at the end. Each has an
	// SOA, an NS, and the records below that belong to it.
	Zones []string

	// Records stand in the zones, one a line as in a zone file, names absolute.
	Records []string

	// Keys may all sign; only Writers, by name, may change TXT records. With
	// Knot they may change anything.
	Keys    []Key
	Writers []string

	// Only are the names, absolute, that Writers may change, by the rules that
	// docs/certificates.md has. Empty: any.
	Only []string
}

// A Server is one that runs.
type Server struct {
	Addr string // host:port, for UDP and TCP
	stop func()
}

// Stop ends the server before its test ends.
func (s *Server) Stop() { s.stop() }

// BIND runs named, of Debian's bind9.
func BIND(t testing.TB, o Options) *Server {
	t.Helper()
	return run(t, o, "named", bindConfig, func(dir string) []string {
		return []string{"-g", "-4", "-n", "1", "-c", filepath.Join(dir, "conf")}
	})
}

// Knot runs knotd, of Debian's knot.
func Knot(t testing.TB, o Options) *Server {
	t.Helper()
	return run(t, o, "knotd", knotConfig, func(dir string) []string {
		return []string{"-c", filepath.Join(dir, "conf")}
	})
}

// run starts a server and waits until it answers for all its zones.
func run(t testing.TB, o Options, program string, config func(Options, string, int) string, args func(dir string) []string) *Server {
	t.Helper()
	path := require(t, program)
	dir, err := os.MkdirTemp("", "usher-dns") //nolint:usetesting // Knot makes a socket there, whose path may have 107 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// AppArmor confines Debian's servers to their folders by their path; a
	// copy elsewhere may read and write here.
	program = filepath.Join(dir, program)
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, program, binary, 0o700)
	for _, zone := range o.Zones {
		write(t, filepath.Join(dir, zone+".zone"), []byte(zoneFile(zone, o.Records)), 0o600)
	}
	var output string
	for range tries {
		port := freePort(t)
		write(t, filepath.Join(dir, "conf"), []byte(config(o, dir, port)), 0o600)
		server := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
		if output, err = server.start(t, program, args(dir), o.Zones); err == nil {
			return server
		}
	}
	t.Fatalf("start %s: %v\n%s", filepath.Base(program), err, output)
	return nil
}

// start starts the program; with an error it has ended, and its output is
// returned.
func (s *Server) start(t testing.TB, program string, args, zones []string) (string, error) {
	var output bytes.Buffer // read when the program has ended
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	// It leads a process group and ends with this process. The kernel sends the death
	// signal when the starting thread ends, so one is kept.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() { // ends with the program, which stop waits for
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return "", err
	}
	s.stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(stopLimit):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	}
	if err := s.ready(zones, ended); err != nil {
		s.stop()
		return output.String(), err
	}
	t.Cleanup(s.stop)
	return "", nil
}

// ready waits until each zone is served, by UDP and TCP.
func (s *Server) ready(zones []string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for _, network := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: network, Timeout: time.Second}
		for _, zone := range zones {
			for !answers(ctx, client, s.Addr, zone) {
				select {
				case <-poll.C:
				case <-ended:
					return errors.New("it has ended")
				case <-ctx.Done():
					return fmt.Errorf("it does not answer for %s by %s", zone, network)
				}
			}
		}
	}
	return nil
}

func answers(ctx context.Context, client *dns.Client, addr, zone string) bool {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	answer, _, err := client.ExchangeContext(ctx, question, addr)
	return err == nil && answer.Authoritative && len(answer.Answer) > 0
}

// TXT asks a server for the texts at a name, in no order.
func (s *Server) TXT(t testing.TB, name string) []string {
	t.Helper()
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	client := &dns.Client{Net: "tcp", Timeout: startLimit}
	answer, _, err := client.ExchangeContext(t.Context(), question, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			texts = append(texts, strings.Join(txt.Txt, ""))
		}
	}
	return texts
}

// require finds a program, or ends the test: skipped for who merely works on the
// code, failed where a skipped test would be a hole in the proof.
func require(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", program)) // not on every PATH
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1":
		t.Fatalf("the real programs must be here (make test installs them): %v", err)
	default:
		t.Skipf("SKIPPED, needs real programs (make test installs them): %v", err)
	}
	return path
}

// freePort finds one that is free for UDP and TCP.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		closeAll(tcp, udp)
		if err == nil {
			return tcp.Addr().(*net.TCPAddr).Port
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return 0
}

func closeAll(closers ...io.Closer) {
	for _, c := range closers {
		if c != nil {
			c.Close()
		}
	}
}

func write(t testing.TB, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
}
