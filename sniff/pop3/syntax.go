package pop3

import (
	"bytes"
	"fmt"

	"usher.example/sniff"
)

const (
	// maxLine bounds a client's line, CRLF included. RFC 2449 §4 asks for 255
	// octets; we are as liberal as the longest password needs.
	maxLine = len("PASS ") + sniff.MaxPassword + len("\r\n")

	// maxCommand bounds the lines that we send to a back end, CRLF included,
	// wherever there is another way (RFC 2449 §4, RFC 5034 §4).
	maxCommand = 255

	// maxReply bounds a back end's line, CRLF included: twice the 512 octets
	// of RFC 2449 §4.
	maxReply = 1024

	// maxCapabilities bounds the lines of an answer to CAPA. The registry
	// has 15; Dovecot sends 9.
	maxCapabilities = 64

	// maxLang bounds a language tag: what RFC 5646 §4.4.1 asks for.
	maxLang = 35
)

// scan takes the first line off in: its text without CRLF, and its length with
// it. A length of 0 asks for more input. What it finds does not depend on what
// stands behind the line.
func scan(in []byte, limit int) (line []byte, n int, err error) {
	end := bytes.IndexByte(in[:min(len(in), limit)], '\n')
	switch {
	case end < 0 && len(in) < limit:
		return nil, 0, nil
	case end < 0:
		return nil, 0, fmt.Errorf("%w: a line of more than %d octets", sniff.ErrTooLong, limit)
	case end == 0 || in[end-1] != '\r':
		return nil, 0, fmt.Errorf("%w: bare LF", ErrLine)
	}
	line = in[:end-1]
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, 0, fmt.Errorf("%w: NUL", ErrLine)
	}
	if bytes.IndexByte(line, '\r') >= 0 {
		return nil, 0, fmt.Errorf("%w: bare CR", ErrLine)
	}
	return line, end + 1, nil
}

// commandLimit is the bound of a command's line: an AUTH may hold a SASL
// message (RFC 5034 §4). It depends on octets that are there before it matters.
func commandLimit(in []byte) int {
	const auth = "AUTH "
	if len(in) >= len(auth) && bytes.EqualFold(in[:len(auth)], []byte(auth)) {
		return sniff.MaxSASLLine
	}
	return maxLine
}

// A command is a client's line. Keywords are case-insensitive (RFC 1939 §3);
// the argument is everything behind one space, so that a password may hold
// spaces (RFC 1939 §7, PASS).
type command struct {
	verb string // upper case; empty for what cannot be a keyword
	arg  []byte
	args bool // there was a space
}

func parseCommand(line []byte) command {
	const longest = len("XCLIENT")
	word, arg, found := bytes.Cut(line, []byte(" "))
	c := command{arg: arg, args: found}
	if len(word) <= longest {
		c.verb = string(bytes.ToUpper(word))
	}
	return c
}

// bare tells that there is no argument but blanks.
func (c command) bare() bool { return len(bytes.Trim(c.arg, " ")) == 0 }

// isLang tells whether s is a language tag by its letters (RFC 5646 §2.1), or
// the "*" of RFC 6856 §3.1.
func isLang(s string) bool {
	if s == "*" {
		return true
	}
	if s == "" || len(s) > maxLang || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !alphanumeric(c) && c != '-' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isPrintable tells that s is of printable ASCII without space only.
func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != ""
}
