package balancertest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every step of a script; nothing waits so long when it works.
const patience = 20 * time.Second

// A Backend is a listener on a loopback address that runs a script for each
// connection.
type Backend struct {
	t     testing.TB
	l     net.Listener
	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// NewBackend runs script for each connection, in a goroutine of its own. When
// the script returns the connection is closed.
func NewBackend(t testing.TB, script func(c *Conn)) *Backend {
	t.Helper()
	return NewBackendAt(t, "127.0.0.1:0", script)
}

// NewBackendAt is NewBackend on a given address.
func NewBackendAt(t testing.TB, address string, script func(c *Conn)) *Backend {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	b := &Backend{t: t, l: l, conns: make(map[net.Conn]struct{})}
	b.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns[c] = struct{}{}
			b.mu.Unlock()
			b.wg.Go(func() {
				defer b.forget(c)
				_ = c.SetDeadline(time.Now().Add(patience))
				script(&Conn{Conn: c, raw: c, t: t, r: bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(b.Close)
	return b
}

func (b *Backend) forget(c net.Conn) {
	_ = c.Close()
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
}

// Host and Port tell where it listens.
func (b *Backend) Host() string { return b.l.Addr().(*net.TCPAddr).IP.String() }

// Port is the port it listens on.
func (b *Backend) Port() int { return b.l.Addr().(*net.TCPAddr).Port }

// Kill closes the listener and resets every connection, as the death of a
// process does.
func (b *Backend) Kill() {
	_ = b.l.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// Close ends everything and waits for the scripts.
func (b *Backend) Close() {
	b.Kill()
	b.wg.Wait()
}

// A Conn is a connection under a script.
type Conn struct {
	net.Conn
	raw net.Conn
	t   testing.TB
	r   *bufio.Reader
}

// Say writes lines, each with CRLF.
func (c *Conn) Say(lines ...string) {
	_, _ = io.WriteString(c.Conn, strings.Join(lines, "\r\n")+"\r\n")
}

// Line reads a line without its CRLF; ok is false when the peer has closed.
func (c *Conn) Line() (line string, ok bool) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return line, false
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), true
}

// Read reads what follows the lines read so far.
func (c *Conn) Read(p []byte) (int, error) { return c.r.Read(p) }

// StartTLS does the handshake as a server.
func (c *Conn) StartTLS(cert tls.Certificate) bool {
	s := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := s.Handshake(); err != nil {
		return false
	}
	c.Conn, c.r = s, bufio.NewReader(s)
	return true
}

// Hang waits until the peer closes.
func (c *Conn) Hang() { _, _ = io.Copy(io.Discard, c.r) }

// Reset tears the connection down.
func (c *Conn) Reset() {
	_ = c.raw.(*net.TCPConn).SetLinger(0)
	_ = c.raw.Close()
}

// IMAP is the script of a well-behaved IMAP server that lets everybody in whose
// password is not "wrong", and afterwards answers each command with OK and its
// own name.
func IMAP(name string) func(c *Conn) {
	return func(c *Conn) {
		const caps = "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN"
		c.Say("* OK [CAPABILITY " + caps + "] " + name)
		for {
			line, ok := c.Line()
			if !ok {
				return
			}
			tag, rest, _ := strings.Cut(line, " ")
			verb, arg, _ := strings.Cut(rest, " ")
			switch strings.ToUpper(verb) {
			case "CAPABILITY":
				c.Say("* CAPABILITY "+caps, tag+" OK done")
			case "AUTHENTICATE":
				plain, _ := decodePlain(strings.TrimPrefix(strings.ToUpper(arg[:min(6, len(arg))])+arg[min(6, len(arg)):], "PLAIN "))
				if strings.HasSuffix(plain, "\x00wrong") {
					c.Say(tag + " NO [AUTHENTICATIONFAILED] no")
					continue
				}
				c.Say(tag + " OK [CAPABILITY IMAP4rev1 IDLE] you are at " + name)
			case "LOGOUT":
				c.Say("* BYE", tag+" OK bye")
				return
			default:
				c.Say(tag + " OK " + name)
			}
		}
	}
}

// ErrClosed tells whether an error is the end of a connection.
func ErrClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "reset")
}

func decodePlain(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err
}
