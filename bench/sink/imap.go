package sink

import (
	"bytes"
	"strconv"
)

// capabilities are Dovecot's, as far as there is something behind them here. ID
// is among them since proxies use it to pass the client's address on.
const capabilities = "IMAP4rev1 SASL-IR ID IDLE LITERAL+ AUTH=PLAIN"

// imap is the server's side of IMAP (RFC 9051), as far as the benchmark goes.
//
//	ready --AUTHENTICATE--> sasl --a line--> ready
//	ready --IDLE--> idling --a line--> ready
//	ready --APPEND … {n}--> appended --n octets, a line--> ready
type imap struct {
	wrong   string // see Options
	begun   bool   // the first octets are behind us
	in      bool   // somebody has logged in
	state   imapState
	tag     []byte // of the command that is not answered yet
	granted int    // literals of the current command that were asked for
	after   []byte // said next, whatever comes
}

type imapState uint8

const (
	ready imapState = iota
	sasl
	idling
	appended
)

func (d *imap) greet() string { return "* OK [CAPABILITY " + capabilities + "] sink ready\r\n" }

func (d *imap) next(dst, in []byte) (int, []byte, action) {
	if len(d.after) > 0 {
		dst = append(dst, d.after...)
		d.after = d.after[:0]
		return 0, dst, action{kind: step}
	}
	if !d.begun {
		n, ok := proxyHeader(in)
		if !ok {
			return d.wait(dst, in)
		}
		d.begun = true
		return n, dst, action{kind: step}
	}
	if d.state == ready {
		return d.command(dst, in)
	}
	line, n := cutLine(in)
	if n == 0 {
		return d.wait(dst, in)
	}
	state := d.state
	d.state = ready
	switch state {
	case sasl:
		return d.credentials(n, dst, line)
	case idling:
		if !bytes.EqualFold(line, []byte("DONE")) {
			return n, d.tagged(dst, "BAD expected DONE"), action{kind: step}
		}
		return n, d.tagged(dst, "OK idle done"), action{kind: step}
	default: // appended
		return n, d.tagged(dst, "OK appended"), action{kind: step}
	}
}

// wait wants more octets, up to a bound.
func (d *imap) wait(dst, in []byte) (int, []byte, action) {
	if len(in) >= maxLine {
		return 0, append(dst, "* BYE too long\r\n"...), action{kind: quit}
	}
	return 0, dst, action{kind: more}
}

func (d *imap) tagged(dst []byte, text string) []byte {
	dst = append(append(dst, d.tag...), ' ')
	return append(append(dst, text...), "\r\n"...)
}

// command takes one command, with its literals, or nothing of it.
func (d *imap) command(dst, in []byte) (int, []byte, action) {
	line, n := cutLine(in)
	if n == 0 {
		return d.wait(dst, in)
	}
	tag, rest, _ := bytes.Cut(line, []byte(" "))
	name, rest, _ := bytes.Cut(rest, []byte(" "))
	d.tag = append(d.tag[:0], tag...)
	var room [maxVerb]byte
	verb := upper(&room, name)
	if string(verb) == "APPEND" && d.in {
		size, wait, ok := literal(rest[max(0, bytes.LastIndexByte(rest, '{')):])
		if !ok {
			return n, d.tagged(dst, "BAD APPEND without a literal"), action{kind: step}
		}
		if wait {
			dst = append(dst, "+ go on\r\n"...)
		}
		d.state = appended
		return n, dst, action{kind: drop, size: size}
	}
	if bytes.HasSuffix(line, []byte("}")) || string(verb) == "LOGIN" {
		var args [][]byte
		w := words{in: in, at: len(line) - len(rest)}
		n, args = w.all(d.granted)
		switch {
		case w.ask:
			d.granted++
			return 0, append(dst, "+ go on\r\n"...), action{kind: step}
		case n == 0:
			return d.wait(dst, in)
		case w.bad:
			d.granted = 0
			return n, d.tagged(dst, "BAD syntax"), action{kind: step}
		}
		d.granted = 0
		if string(verb) == "LOGIN" && len(args) == 2 {
			return d.login(n, dst, string(args[1]))
		}
	}
	return d.perform(n, dst, verb, rest)
}

// perform answers a command of one line.
func (d *imap) perform(n int, dst, verb, rest []byte) (int, []byte, action) {
	done := action{kind: step}
	switch string(verb) {
	case "NOOP", "CHECK":
		return n, d.tagged(dst, "OK done"), done
	case "CAPABILITY":
		return n, d.tagged(append(dst, "* CAPABILITY "+capabilities+"\r\n"...), "OK done"), done
	case "ID":
		return n, d.tagged(append(dst, "* ID NIL\r\n"...), "OK done"), done
	case "LOGOUT":
		return n, d.tagged(append(dst, "* BYE\r\n"...), "OK done"), action{kind: quit}
	case "AUTHENTICATE":
		mechanism, response, initial := bytes.Cut(rest, []byte(" "))
		switch {
		case !bytes.EqualFold(mechanism, []byte("PLAIN")):
			return n, d.tagged(dst, "NO only PLAIN"), done
		case initial:
			return d.credentials(n, dst, response)
		}
		d.state = sasl
		return n, append(dst, "+ \r\n"...), done
	}
	if !d.in {
		return n, d.tagged(dst, "BAD log in first"), done
	}
	switch string(verb) {
	case "IDLE":
		d.state = idling
		return n, append(dst, "+ idling\r\n"...), done
	case "FETCH":
		_, size, _ := bytes.Cut(rest, []byte("<0."))
		size, _, _ = bytes.Cut(size, []byte(">"))
		octets, ok := number(size)
		if !ok {
			return n, d.tagged(dst, "BAD expected BODY[]<0.octets>"), done
		}
		dst = strconv.AppendInt(append(dst, "* 1 FETCH (BODY[]<0> {"...), octets, 10)
		d.after = d.tagged(append(d.after[:0], ")\r\n"...), "OK fetched")
		return n, append(dst, "}\r\n"...), action{kind: send, size: octets}
	}
	return n, d.tagged(dst, "BAD unknown"), done
}

func (d *imap) login(n int, dst []byte, password string) (int, []byte, action) {
	if d.wrong != "" && password == d.wrong {
		return n, d.tagged(dst, "NO [AUTHENTICATIONFAILED] wrong"), action{kind: refusal}
	}
	d.in = true
	return n, d.tagged(dst, "OK [CAPABILITY "+capabilities+"] logged in"), action{kind: login}
}

// credentials takes the response of SASL PLAIN (RFC 4616).
func (d *imap) credentials(n int, dst, response []byte) (int, []byte, action) {
	password, ok := plain(response)
	if !ok {
		return n, d.tagged(dst, "BAD malformed"), action{kind: step}
	}
	return d.login(n, dst, password)
}
