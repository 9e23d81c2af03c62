package sink

import "bytes"

// pop3 is the server's side of POP3 (RFC 1939), as far as the benchmark goes.
type pop3 struct {
	wrong string // see Options
	begun bool   // the first octets are behind us
	in    bool   // somebody has logged in
	user  bool   // USER was said
	sasl  bool   // the next line is a response of SASL
	after []byte // said next, whatever comes
}

func (d *pop3) greet() string { return "+OK sink ready\r\n" }

func (d *pop3) next(dst, in []byte) (int, []byte, action) {
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
	line, n := cutLine(in)
	if n == 0 {
		return d.wait(dst, in)
	}
	if d.sasl {
		d.sasl = false
		dst, a := d.credentials(dst, line)
		return n, dst, a
	}
	name, rest, _ := bytes.Cut(line, []byte(" "))
	var room [maxVerb]byte
	dst, a := d.command(dst, upper(&room, name), rest)
	return n, dst, a
}

// wait wants more octets, up to a bound.
func (d *pop3) wait(dst, in []byte) (int, []byte, action) {
	if len(in) >= maxLine {
		return 0, append(dst, "-ERR too long\r\n"...), action{kind: quit}
	}
	return 0, dst, action{kind: more}
}

func (d *pop3) command(dst, verb, rest []byte) ([]byte, action) {
	done := action{kind: step}
	switch string(verb) {
	case "USER":
		d.user = true
		return append(dst, "+OK\r\n"...), done
	case "PASS":
		if !d.user {
			return append(dst, "-ERR USER first\r\n"...), done
		}
		return d.login(dst, string(rest))
	case "AUTH":
		mechanism, response, initial := bytes.Cut(rest, []byte(" "))
		switch {
		case len(mechanism) == 0: // what old clients ask
			return append(dst, "+OK\r\nPLAIN\r\n.\r\n"...), done
		case !bytes.EqualFold(mechanism, []byte("PLAIN")):
			return append(dst, "-ERR only PLAIN\r\n"...), done
		case initial:
			return d.credentials(dst, response)
		}
		d.sasl = true
		return append(dst, "+ \r\n"...), done
	case "CAPA":
		return append(dst, "+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nUSER\r\nSASL PLAIN\r\n.\r\n"...), done
	case "QUIT":
		return append(dst, "+OK\r\n"...), action{kind: quit}
	case "NOOP":
		return append(dst, "+OK\r\n"...), done
	}
	if !d.in {
		return append(dst, "-ERR log in first\r\n"...), done
	}
	switch string(verb) {
	case "STAT":
		return append(dst, "+OK 0 0\r\n"...), done
	case "RETR":
		size, ok := number(rest)
		if !ok || size < 2 {
			return append(dst, "-ERR expected the octets to send, 2 or more\r\n"...), done
		}
		// A message ends with CRLF, which is part of it (RFC 1939 §3).
		d.after = append(d.after[:0], "\r\n.\r\n"...)
		return append(dst, "+OK\r\n"...), action{kind: send, size: size - 2, own: 2}
	}
	return append(dst, "-ERR unknown\r\n"...), done
}

func (d *pop3) credentials(dst, response []byte) ([]byte, action) {
	password, ok := plain(response)
	if !ok {
		return append(dst, "-ERR malformed\r\n"...), action{kind: step}
	}
	return d.login(dst, password)
}

func (d *pop3) login(dst []byte, password string) ([]byte, action) {
	if d.wrong != "" && password == d.wrong {
		return append(dst, "-ERR [AUTH] wrong\r\n"...), action{kind: refusal}
	}
	d.in = true
	return append(dst, "+OK logged in\r\n"...), action{kind: login}
}
