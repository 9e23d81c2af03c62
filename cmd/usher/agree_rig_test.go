package main_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// A caller is one connection to usher and what its client saw. It comes, by a PROXY
// header, from an address that nobody else has: by that the logs are laid side by side.
type caller struct {
	*client
	addr    string
	door    string
	began   time.Time
	shown   string // how usher should account for the connection; empty: the client cannot know
	shakes  string // what became of TLS: full, resumed, failed; empty: there was none
	tries   []attempted
	refused []string // answers to logins that were neither yes nor a matter of the password
	asked   bool     // has asked to be let in and has not waited
	took    int      // logins that it has taken back
}

// An attempted is a login that a client has seen answered.
type attempted struct{ mech, verdict string }

// A clientele makes them, and keeps them.
type clientele struct {
	s     *site
	good  *tls.Config // resumes
	mu    sync.Mutex
	all   []*caller
	wrong []string // what a script did not expect
}

// dial makes a connection with nothing but the PROXY header on it.
func (cs *clientele) dial(addr, door string, header bool) (*caller, net.Conn) {
	ports := map[string]int{"imaps": portIMAPS, "imap": portIMAP, "pop3s": portPOP3S, "pop3": portPOP3, "extra": portExtra}
	c := &caller{addr: addr, door: door, began: time.Now(), client: &client{protocol: strings.TrimSuffix(door, "s")}}
	if door == "extra" {
		c.protocol = "imap"
	}
	cs.mu.Lock()
	cs.all = append(cs.all, c)
	cs.mu.Unlock()
	conn, err := net.DialTimeout("tcp", hostPort(cs.s.host, ports[door]), patience)
	if err != nil {
		cs.fault("%s: %v", door, err)
		c.err = err
		return c, nil
	}
	c.Conn = conn
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	if header {
		fmt.Fprintf(conn, "PROXY TCP4 %s 192.0.2.2 4321 143\r\n", addr)
	}
	return c, conn
}

// fault notes what should not have happened.
func (cs *clientele) fault(format string, args ...any) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.wrong = append(cs.wrong, fmt.Sprintf(format, args...))
}

// check notes a client's fault.
func (cs *clientele) check(c *caller, what string) {
	if c.err != nil {
		cs.fault("%s %s, %s: %v", c.door, c.addr, what, c.err)
	}
}

// enter comes in through a door up to the greeting under TLS.
func (cs *clientele) enter(addr, door string) *caller {
	c, conn := cs.dial(addr, door, true)
	if conn == nil {
		return c
	}
	implicit := strings.HasSuffix(door, "s")
	if implicit {
		t := tls.Client(conn, cs.good)
		c.err = t.Handshake()
		c.Conn = t
	}
	c.listen()
	c.until("* OK", "+OK")
	if !implicit {
		c.startTLS(cs.good)
	}
	cs.check(c, "TLS")
	if t, ok := c.Conn.(*tls.Conn); ok && c.err == nil {
		c.shakes = "full"
		if t.ConnectionState().DidResume {
			c.shakes = "resumed"
		}
	}
	return c
}

// loginWays are the mechanisms of a protocol, by what /metrics calls them.
var loginWays = []string{"command", "PLAIN", "LOGIN", "SCRAM-SHA-256", "PLAIN"}

// try logs in once and notes what came of it.
func (cs *clientele) try(c *caller, way int, user, password string) bool {
	if c.err != nil {
		return false
	}
	mech := loginWays[way%len(loginWays)]
	var got string
	switch way % len(loginWays) {
	case 0:
		got = c.login(user, password)
	case 1:
		got = c.authenticate(plain("", user, password), true)
	case 2:
		got = c.authenticate(login2(user, password), false)
	case 3:
		got = c.authenticate(scramSHA256(user, password), true)
	case 4:
		got = c.authenticate(plain("", user, password), false)
	}
	verdict := "error"
	switch {
	case good(got):
		verdict = "ok"
	case strings.Contains(got, "[AUTHENTICATIONFAILED]"), strings.Contains(got, "[AUTH]"):
		verdict = "failed"
	case got == "":
		cs.check(c, "login by "+mech)
		return false
	default:
		cs.mu.Lock()
		c.refused = append(c.refused, got)
		cs.mu.Unlock()
	}
	c.tries = append(c.tries, attempted{mech, verdict})
	return verdict == "ok"
}

// must is try where only yes will do.
func (cs *clientele) must(c *caller, way int, user, password string) bool {
	ok := cs.try(c, way, user, password)
	if !ok {
		cs.fault("%s %s: no login as %s: %v %v", c.door, c.addr, user, c.tries, c.refused)
	}
	return ok
}

// mail moves some data both loginWays.
func (cs *clientele) mail(c *caller, i int) {
	if !c.imap() {
		if good(c.command("STAT")) && good(c.command("RETR 1")) {
			for c.err == nil && c.line() != "." {
			}
		}
		cs.check(c, "RETR")
		return
	}
	c.command("SELECT INBOX")
	c.command("FETCH 1 BODY.PEEK[]")
	if i%8 == 0 {
		text := strings.Repeat("A line of a message that goes to the server.\r\n", 50+i%50)
		c.command("APPEND Sent%d {%d+}\r\n%s", i, len(text), text) // there is no such mailbox, and the text has come all the same
	}
	cs.check(c, "FETCH")
}

// leave logs out.
func (cs *clientele) leave(c *caller) {
	if c.err == nil {
		c.logout()
		cs.check(c, "logout")
	}
	c.Close()
}

// reset tears the connection down as a machine does that has lost it.
func (c *caller) reset() {
	conn := c.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
