package main_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"strings"
)

func (c *client) listen() { c.r = bufio.NewReader(c.Conn) }

// agreeUsers is how many users there are who just log in.
const agreeUsers = 150

func agreeUser(i int) string { return fmt.Sprintf("user%d", i%agreeUsers) }

// secretOf is a user's password.
func secretOf(user string) string { return "pw-" + user }

// A script is what a client does with its one connection. What it leaves in shown is
// how the session should end by its own doings.
type script func(cs *clientele, i int, addr, door string)

// scripts are what clients do, one after the other.
var scripts = []script{
	reads, reads, looks, reads, mistypes, quits, reads, leaves, guesses, breaks,
	reads, looks, loses, strange, reads, untrusting, corrects, plainly, reads, vanishes,
	reads, injects, looks, gives, reads, blank, hasty, headless, stops, reads,
}

func reads(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	if cs.must(c, i, agreeUser(i), secretOf(agreeUser(i))) {
		c.shown = "none"
		cs.mail(c, i)
	}
	cs.leave(c)
}

func looks(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	if cs.must(c, i, agreeUser(i), secretOf(agreeUser(i))) {
		c.shown = "none"
	}
	cs.leave(c)
}

// leaves closes the connection without a word.
func leaves(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	if cs.must(c, i, agreeUser(i), secretOf(agreeUser(i))) {
		c.shown = "none"
		cs.mail(c, i)
	}
	c.Close()
}

// loses has the connection torn down.
func loses(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	if cs.must(c, i, agreeUser(i), secretOf(agreeUser(i))) {
		c.shown = "none"
		c.command("NOOP")
	}
	c.reset()
}

func mistypes(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	if cs.try(c, i, agreeUser(i), "wrong") {
		cs.fault("a wrong password is let in")
	}
	c.shown = "client_quit"
	cs.leave(c)
}

func guesses(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	cs.try(c, i, fmt.Sprintf("nobody%d", i), "guess")
	c.shown = "client_gone"
	c.Close()
}

// corrects mistypes and then does not.
func corrects(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	cs.try(c, i, agreeUser(i), "wrong")
	if cs.must(c, i+1, agreeUser(i), secretOf(agreeUser(i))) {
		c.shown = "none"
	}
	cs.leave(c)
}

func quits(cs *clientele, _ int, addr, door string) {
	c := cs.enter(addr, door)
	c.shown = "client_quit"
	cs.leave(c)
}

func gives(cs *clientele, _ int, addr, door string) {
	c := cs.enter(addr, door)
	c.shown = "client_gone"
	c.Close()
}

// breaks sends a line that no client needs.
func breaks(cs *clientele, _ int, addr, door string) {
	c := cs.enter(addr, door)
	c.shown = "client_protocol"
	c.send("%s", strings.Repeat("x", 40<<10))
	c.ended()
	c.Close()
}

// strange speaks HTTP.
func strange(cs *clientele, _ int, addr, door string) {
	c, conn := cs.dial(addr, door, true)
	if conn == nil {
		return
	}
	if strings.HasSuffix(door, "s") {
		c.shown, c.shakes = "client_tls", "failed"
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\n")
	c.listen()
	if c.shown == "" {
		c.line() // the greeting
		c.line()
		c.shown = "client_gone"
	} else {
		c.ended()
	}
	c.Close()
}

// untrusting does not believe in the certificate.
func untrusting(cs *clientele, _ int, addr, door string) {
	c, conn := cs.dial(addr, door, true)
	if conn == nil {
		return
	}
	c.shown, c.shakes = "client_tls", "failed"
	if !strings.HasSuffix(door, "s") {
		c.listen()
		c.until("* OK", "+OK")
		c.startTLS(&tls.Config{ServerName: "mail.example.net"})
	} else {
		c.err = tls.Client(conn, &tls.Config{ServerName: "mail.example.net"}).Handshake()
	}
	if c.err == nil {
		cs.fault("%s: an unknown authority is believed", door)
	}
	_ = conn.Close()
}

// plainly tries to log in without TLS.
func plainly(cs *clientele, i int, addr, door string) {
	door = strings.TrimSuffix(door, "s")
	c, conn := cs.dial(addr, door, true)
	if conn == nil {
		return
	}
	c.shown = "client_quit"
	c.listen()
	c.until("* OK", "+OK")
	if got := c.login(agreeUser(i), secretOf(agreeUser(i))); !strings.Contains(got, "PRIVACYREQUIRED") && !strings.Contains(got, "SYS/PERM") {
		cs.fault("%s: a login without TLS is answered %q", door, got)
	}
	cs.leave(c)
}

// vanishes asks to be let in and does not wait for the answer.
func vanishes(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	c.ask(agreeUser(i))
	c.Close()
}

// hasty is vanishes with a reset.
func hasty(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	c.ask(agreeUser(i))
	c.reset()
}

// injects sends plaintext behind STARTTLS.
func injects(cs *clientele, _ int, addr, door string) {
	c, conn := cs.dial(addr, strings.TrimSuffix(door, "s"), true)
	if conn == nil {
		return
	}
	c.shown = "client_injection"
	c.listen()
	c.until("* OK", "+OK")
	if c.imap() {
		c.send("a STARTTLS\r\nb NOOP")
	} else {
		c.send("STLS\r\nNOOP")
	}
	c.ended()
	c.Close()
}

// blank gives no password.
func blank(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	if cs.try(c, 1+3*(i%2), agreeUser(i), "") {
		cs.fault("an empty password is let in")
	}
	c.shown = "client_quit"
	cs.leave(c)
}

// headless comes without the PROXY header that is due; he has usher's address.
func headless(cs *clientele, _ int, _, door string) {
	c, conn := cs.dial("127.0.0.1", door, false)
	if conn == nil {
		return
	}
	c.shown = "proxy_header"
	fmt.Fprint(conn, "a LOGIN joe secret\r\n")
	c.listen()
	c.ended()
	c.Close()
}

// stops takes the login back amid it.
func stops(cs *clientele, i int, addr, door string) {
	c := cs.enter(addr, door)
	if got := c.authenticate(scramSHA256(agreeUser(i), secretOf(agreeUser(i))).cancelling(2), true); c.err == nil && good(got) {
		cs.fault("a login that was taken back: %q", got)
	}
	c.took++
	c.shown = "client_quit"
	cs.leave(c)
}

// ask asks to be let in and does not wait for the answer.
func (c *caller) ask(user string) {
	c.asked = true
	if c.imap() {
		c.send("a LOGIN %s %s", user, secretOf(user))
	} else {
		c.send("USER %s\r\nPASS %s", user, secretOf(user))
	}
}
