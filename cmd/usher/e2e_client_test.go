package main_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A client speaks IMAP or POP3 with no mail library in between. After a fault
// all its methods do nothing, and err says what it was: a client is used by a
// goroutine of its own as well as by a test.
type client struct {
	net.Conn
	protocol string
	err      error
	r        *bufio.Reader
	tag      int
}

// doors are the ways into a node, by the names of newSite's listeners.
var doors = []string{"imaps", "imap", "pop3s", "pop3"}

// An entry says how a client comes in.
type entry struct {
	from   string      // its address; empty: any loopback address
	plain  bool        // it does not start TLS
	header string      // goes ahead of everything
	tls    *tls.Config // nil: that of the site, without a client certificate
	port   int         // zero: that of the door
}

// enter connects through a door, with TLS as it is due there, and reads the
// greeting.
func (s *site) enter(door string, e entry) *client {
	ports := map[string]int{"imaps": portIMAPS, "imap": portIMAP, "pop3s": portPOP3S, "pop3": portPOP3}
	if e.port == 0 {
		e.port = ports[door]
	}
	if e.tls == nil {
		e.tls = s.clientTLS()
	}
	c := &client{protocol: strings.TrimSuffix(door, "s")}
	var d net.Dialer
	if e.from != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(e.from), 0))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", hostPort(s.host, e.port))
	if err != nil {
		c.err = err
		return c
	}
	c.Conn = conn
	c.err = conn.SetDeadline(time.Now().Add(2 * patience))
	if e.header != "" {
		c.write([]byte(e.header))
	}
	if strings.HasSuffix(door, "s") {
		c.Conn = tls.Client(conn, e.tls)
	}
	c.r = bufio.NewReader(c.Conn)
	c.until("* OK", "+OK")
	if !strings.HasSuffix(door, "s") && !e.plain {
		c.startTLS(e.tls)
	}
	return c
}

// enter is site's for a test that cannot go on without; the connection ends
// with it.
func enter(t testing.TB, s *site, door string, e entry) *client {
	t.Helper()
	c := s.enter(door, e)
	c.must(t)
	t.Cleanup(func() { c.Close() })
	return c
}

// must ends the test if the client has come to a fault.
func (c *client) must(t testing.TB) {
	t.Helper()
	if c.err != nil {
		t.Fatalf("%s client: %v", c.protocol, c.err)
	}
}

// Close closes the connection at once, if there is one.
func (c *client) Close() {
	if c.Conn != nil {
		_ = c.Conn.Close() // nobody waits for its end
	}
}

func (c *client) imap() bool { return c.protocol == "imap" }

func (c *client) write(text []byte) {
	if c.err == nil {
		_, c.err = c.Write(text)
	}
}

func (c *client) send(format string, args ...any) { c.write(fmt.Appendf(nil, format+"\r\n", args...)) }

// line reads a line.
func (c *client) line() string {
	if c.err != nil {
		return ""
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.err = fmt.Errorf("read a line: %w (so far %q)", err, line)
	}
	return strings.TrimRight(line, "\r\n")
}

// until reads up to a line that starts with one of the prefixes.
func (c *client) until(prefixes ...string) string {
	var last string
	for c.err == nil {
		last = c.line()
		for _, prefix := range prefixes {
			if strings.HasPrefix(last, prefix) {
				return last
			}
		}
		if c.imap() || c.err != nil {
			continue // untagged
		}
		c.err = fmt.Errorf("got %q, want %q", last, prefixes)
	}
	return last
}

// command sends a command and returns its verdict: the tagged line of IMAP,
// without the tag, or the first line of POP3.
func (c *client) command(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if !c.imap() {
		c.send("%s", text)
		return c.until("+OK", "-ERR")
	}
	tag := c.nextTag()
	c.send("%s%s", tag, text)
	return strings.TrimPrefix(c.until(tag), tag)
}

// nextTag returns a fresh tag and the space behind it.
func (c *client) nextTag() string {
	c.tag++
	return fmt.Sprintf("a%d ", c.tag)
}

// startTLS asks for TLS and starts it.
func (c *client) startTLS(config *tls.Config) {
	ask := "STARTTLS"
	if !c.imap() {
		ask = "STLS"
	}
	if got := c.command("%s", ask); c.err == nil && !good(got) {
		c.err = fmt.Errorf("%s: got %q", ask, got)
	}
	if c.err == nil {
		secure := tls.Client(c.Conn, config)
		c.err = secure.Handshake()
		c.Conn, c.r = secure, bufio.NewReader(secure)
	}
}

// login logs in by LOGIN, or USER and PASS, and returns the verdict.
func (c *client) login(user, password string) string {
	if c.imap() {
		return c.command("LOGIN %s %s", user, password)
	}
	if got := c.command("USER %s", user); !good(got) {
		return got
	}
	return c.command("PASS %s", password)
}

// authenticate goes through an exchange of SASL and returns the verdict. With
// early the first message goes with the command (RFC 4959, RFC 5034).
func (c *client) authenticate(m *mechanism, early bool) string {
	tag, ask, yes, no := "", "AUTH "+m.name, "+OK", "-ERR"
	if c.imap() {
		tag = c.nextTag()
		ask, yes, no = tag+"AUTHENTICATE "+m.name, tag, "* BYE"
	}
	if early {
		first := "="
		if msg := m.answer(nil); len(msg) > 0 {
			first = base64.StdEncoding.EncodeToString(msg)
		}
		ask += " " + first
	}
	c.send("%s", ask)
	for c.err == nil {
		line := c.until("+ ", yes, no)
		challenge, ok := strings.CutPrefix(line, "+ ")
		if !ok {
			if m.err != nil {
				c.err = errors.Join(c.err, fmt.Errorf("%s: %w", m.name, m.err))
			}
			return strings.TrimPrefix(line, tag)
		}
		decoded, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			c.err = fmt.Errorf("challenge %q: %w", challenge, err)
			break
		}
		if m.cancel == m.sent+1 {
			m.sent++
			c.send("*")
			continue
		}
		c.send("%s", base64.StdEncoding.EncodeToString(m.answer(decoded)))
	}
	return ""
}

// works shows that the session is live.
func (c *client) works() bool { return good(c.command("NOOP")) && c.err == nil }

// logout ends the session in order and waits for the end.
func (c *client) logout() {
	if c.imap() {
		c.command("LOGOUT")
	} else {
		c.command("QUIT")
	}
	if c.err == nil && !c.ended() {
		c.err = errors.New("the connection stays open after the logout")
	}
	c.Close()
}

// ended waits for the end of the connection, and reports whether it came before
// the client's own time was over.
func (c *client) ended() bool {
	if c.err == nil {
		_, c.err = io.Copy(io.Discard, c.r)
		if c.err == nil {
			return true
		}
	}
	err := c.err
	over := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if over {
		c.err = nil
	}
	return over && !errors.Is(err, os.ErrDeadlineExceeded)
}

// good tells whether a verdict is a yes.
func good(verdict string) bool {
	return strings.HasPrefix(verdict, "OK") || strings.HasPrefix(verdict, "+OK")
}
