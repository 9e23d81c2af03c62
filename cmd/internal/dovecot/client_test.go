package dovecot_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// limit ends a dialogue that has gone astray.
const limit = 30 * time.Second

// A client speaks a line protocol with no mail library in between, so that what
// is tested is the server.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// dial connects and reads the greeting. The header, if any, goes ahead of
// everything; a config makes TLS follow it.
func dial(t testing.TB, addr, header string, config *tls.Config) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(header)); err != nil {
		t.Fatal(err)
	}
	c := &client{Conn: conn, t: t}
	if config != nil {
		c.Conn = tls.Client(conn, config)
	}
	c.r = bufio.NewReader(c.Conn)
	c.until("* OK", "+OK")
	return c
}

func (c *client) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read a line: %v (so far %q)", err, line)
	}
	return strings.TrimRight(line, "\r\n")
}

// until reads up to a line that starts with one of the prefixes.
func (c *client) until(prefixes ...string) string {
	c.t.Helper()
	for {
		line := c.line()
		for _, prefix := range prefixes {
			if strings.HasPrefix(line, prefix) {
				return line
			}
		}
	}
}

// authenticate goes through an exchange of SASL and returns the verdict's line.
func (c *client) authenticate(command string, mech mechanism) string {
	c.t.Helper()
	c.send("%s %s", command, mech.name)
	for {
		line := c.until("+ ", "+OK", "-ERR", "a ")
		challenge, ok := strings.CutPrefix(line, "+ ")
		if !ok {
			return line
		}
		decoded, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			c.t.Fatalf("challenge %q: %v", challenge, err)
		}
		c.send("%s", base64.StdEncoding.EncodeToString(mech.next(c.t, decoded)))
	}
}

// startTLS asks for TLS and goes on with it.
func (c *client) startTLS(command, want string, config *tls.Config) {
	c.t.Helper()
	c.send("%s", command)
	if got := c.line(); !strings.HasPrefix(got, want) {
		c.t.Fatalf("%s: got %q, want %q", command, got, want)
	}
	c.Conn = tls.Client(c.Conn, config)
	c.r = bufio.NewReader(c.Conn)
}
