package main_test

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"usher.example/cmd/internal/dovecot"
)

// run runs a program and returns what it prints; anything but success fails the
// test.
func run(t testing.TB, stdin, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pair returns two servers with one storage and one authority.
func pair(t testing.TB, o dovecot.Options) (one, two *dovecot.Server) {
	t.Helper()
	o.Storage, o.Authority = dovecot.NewStorage(t), dovecot.NewAuthority(t)
	o.RequireTLS = true
	o.Name = "one"
	one = dovecot.Start(t, o)
	o.Name = "two"
	return one, dovecot.Start(t, o)
}

// TestClients has clients that people use log in through usher, and wants the
// client's own address in the log of the server where it lands.
func TestClients(t *testing.T) {
	require(t, "curl", "openssl", "python3")
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	p := s.serve()
	imaps, imapStart, pop3s, pop3Start := p.addr(portIMAPS), p.addr(portIMAP), p.addr(portPOP3S), p.addr(portPOP3)
	ca := s.authority.File
	curl := func(t *testing.T, from, user string, args ...string) string {
		t.Helper()
		return run(t, "", "curl", append([]string{
			"--silent", "--show-error", "--max-time", "60", "--interface", from, "--cacert", ca, "--user", user + ":secret",
		}, args...)...)
	}
	openssl := func(t *testing.T, from, script string, args ...string) string {
		t.Helper()
		return run(t, script, "openssl", append([]string{
			"s_client", "-quiet", "-crlf", "-bind", from + ":0", "-CAfile", ca, "-verify_return_error", "-verify_ip", s.host,
		}, args...)...)
	}
	python := func(t *testing.T, script, mode, addr, from, user string) string {
		t.Helper()
		return run(t, "", "python3", filepath.Join("testdata", "e2e", script), mode, s.host, port(addr), from, ca, user, "secret")
	}
	for i, tt := range []struct {
		name, proto string
		run         func(t *testing.T, from, user string) string
		want        []string
	}{
		{"curl imaps", "imap", func(t *testing.T, from, user string) string {
			return curl(t, from, user, "imaps://"+imaps+"/INBOX;MAILINDEX=1")
		}, []string{"Subject: for curl imaps"}},
		{"curl imap starttls", "imap", func(t *testing.T, from, user string) string {
			return curl(t, from, user, "--ssl-reqd", "imap://"+imapStart+"/INBOX;MAILINDEX=1")
		}, []string{"Subject: for curl imap starttls"}},
		{"curl pop3s", "pop3", func(t *testing.T, from, user string) string {
			return curl(t, from, user, "pop3s://"+pop3s+"/1")
		}, []string{"Subject: for curl pop3s"}},
		{"curl pop3 stls", "pop3", func(t *testing.T, from, user string) string {
			return curl(t, from, user, "--ssl-reqd", "pop3://"+pop3Start+"/1")
		}, []string{"Subject: for curl pop3 stls"}},
		{"openssl imaps", "imap", func(t *testing.T, from, user string) string {
			return openssl(t, from, "a LOGIN "+user+" secret\nb SELECT INBOX\nc LOGOUT\n", "-connect", imaps)
		}, []string{"a OK [CAPABILITY", "* 1 EXISTS", "c OK"}},
		{"openssl imap starttls", "imap", func(t *testing.T, from, user string) string {
			return openssl(t, from, "a LOGIN "+user+" secret\nb SELECT INBOX\nc LOGOUT\n", "-connect", imapStart, "-starttls", "imap")
		}, []string{"a OK [CAPABILITY", "* 1 EXISTS", "c OK"}},
		{"openssl pop3s", "pop3", func(t *testing.T, from, user string) string {
			return openssl(t, from, "USER "+user+"\nPASS secret\nSTAT\nQUIT\n", "-connect", pop3s)
		}, []string{"+OK Logged in", "+OK 1 ", "+OK Logging out"}},
		{"openssl pop3 stls", "pop3", func(t *testing.T, from, user string) string {
			return openssl(t, from, "USER "+user+"\nPASS secret\nSTAT\nQUIT\n", "-connect", pop3Start, "-starttls", "pop3")
		}, []string{"+OK Logged in", "+OK 1 ", "+OK Logging out"}},
		{"imaplib imaps", "imap", func(t *testing.T, from, user string) string {
			return python(t, "imap.py", "imaps", imaps, from, user)
		}, []string{"imaplib is content"}},
		{"imaplib starttls", "imap", func(t *testing.T, from, user string) string {
			return python(t, "imap.py", "starttls", imapStart, from, user)
		}, []string{"imaplib is content"}},
		{"poplib pop3s", "pop3", func(t *testing.T, from, user string) string {
			return python(t, "pop3.py", "pop3s", pop3s, from, user)
		}, []string{"poplib is content"}},
		{"poplib stls", "pop3", func(t *testing.T, from, user string) string {
			return python(t, "pop3.py", "stls", pop3Start, from, user)
		}, []string{"poplib is content"}},
		{"go-imap", "imap", func(t *testing.T, from, user string) string { return goIMAP(t, s, from, user) }, []string{"1 messages", "1 found"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			user := "u" + strings.ReplaceAll(tt.name, " ", "-")
			subject := tt.name
			if strings.HasPrefix(tt.name, "poplib") {
				subject = "poplib"
			}
			one.Deliver(t, user, "", []byte("Subject: for "+subject+"\n\nbody\n"))
			from := fmt.Sprintf("127.9.8.%d", 7+i)
			out := tt.run(t, from, user)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("output has no %q:\n%s", want, out)
				}
			}
			line := p.log.await(t, ` msg=session .*user=`+user+` .*result=ok`, 1)[0]
			srv := one
			if field(line, "backend") == "mail2" {
				srv = two
			}
			// Dovecot's own words: the client is who he is, the server is usher,
			// and what lies between them is TLS all along.
			got := srv.WaitLog(t, tt.proto+`-login: Info: Login: user=<`+user+`>`)
			if want := ", rip=" + from + ", lip=" + s.host + ", "; !strings.Contains(got, want) || !strings.Contains(got, "TLS") {
				t.Errorf("Dovecot's log: got %q, want it to have %q and TLS", got, want)
			}
			if got := field(line, "client"); !strings.HasPrefix(got, from+":") {
				t.Errorf("usher's log: got client %q, want %s", got, from)
			}
		})
	}
}

// mailClient is a client of go-imap that has logged in.
func mailClient(t testing.TB, s *site, door, from, user string, o imapclient.Options) *imapclient.Client {
	t.Helper()
	o.TLSConfig = s.clientTLS()
	o.Dialer = &net.Dialer{
		Timeout:   patience,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)),
	}
	dial, addr := imapclient.DialTLS, hostPort(s.host, portIMAPS)
	if door == "imap" {
		dial, addr = imapclient.DialStartTLS, hostPort(s.host, portIMAP)
	}
	c, err := dial(addr, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(user, "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// goIMAP is a round with the client of go-imap, by STARTTLS.
func goIMAP(t *testing.T, s *site, from, user string) string {
	t.Helper()
	c := mailClient(t, s, "imap", from, user, imapclient.Options{})
	box, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Search(&imap.SearchCriteria{Body: []string{"body"}}, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d messages, %d found", box.NumMessages, len(found.AllSeqNums()))
}
