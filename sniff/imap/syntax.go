package imap

import (
	"bytes"
	"errors"
	"strings"
)

// errSyntax is what every fault in a command's arguments amounts to.
var errSyntax = errors.New("syntax error")

// A lineScanner finds the ends of lines in input that comes in pieces, looking
// at each octet once.
type lineScanner struct {
	seen int // octets of the unfinished line that were looked at
}

// next returns the first line of in without its CR LF, and how many octets it
// takes with it; n is 0 if there is no whole line yet. The line shares in's memory.
func (s *lineScanner) next(in []byte, limit int) (line []byte, n int, err error) {
	for i := s.seen; i < len(in); i++ {
		afterCR := i > 0 && in[i-1] == '\r'
		switch {
		case i >= limit:
			return nil, 0, ErrLine
		case in[i] == 0, afterCR != (in[i] == '\n'):
			return nil, 0, ErrOctet
		case afterCR:
			s.seen = 0
			return in[:i-1], i + 1, nil
		}
	}
	s.seen = len(in)
	return nil, 0, nil
}

// cutTag takes the tag off a command: 1*<any ASTRING-CHAR except "+">
// (RFC 9051 §9). A literal is not a tag.
func cutTag(line []byte) (tag string, rest []byte, ok bool) {
	n := bytes.IndexByte(line, ' ')
	if n < 0 {
		n = len(line)
	}
	if n == 0 || n > maxTag {
		return "", nil, false
	}
	for _, c := range line[:n] {
		if c == '+' || !astringChar(c) {
			return "", nil, false
		}
	}
	return string(line[:n]), line[n:], true
}

// astringChar tells whether c is an ASTRING-CHAR (RFC 9051 §9).
func astringChar(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune(`(){%*"\`, rune(c))
}

// argumentChar tells whether c may stand in an argument without quotes. It is
// wider than ASTRING-CHAR: imaplib and others write LOGIN joe*master and
// LOGIN HOME\joe without quotes, Dovecot takes it, and nothing else it could mean.
func argumentChar(c byte) bool {
	return astringChar(c) || c == '%' || c == '*' || c == '\\'
}

// A tokenKind is what an argument, or a part of it, looked like.
type tokenKind uint8

const (
	atom    tokenKind = iota
	quoted            // quoted string or literal
	opening           // (
	closing           // )
)

// A token is a piece of a command's arguments.
type token struct {
	kind tokenKind
	text []byte // own memory; unescaped
}

// is tells whether t is the atom name, in any case.
func (t token) is(name string) bool { return t.kind == atom && strings.EqualFold(string(t.text), name) }

// isString tells whether t can be an astring (RFC 9051 §9).
func (t token) isString() bool { return t.kind == atom || t.kind == quoted }

// A literalMark is the announcement of a literal at the end of a line.
type literalMark struct {
	size    int  // octets; maxCommand+1 stands for all that is more
	waits   bool // the client waits for our "+" (RFC 9051 §4.3; RFC 7888 does not)
	present bool
}

// trailingLiteral reads {n} or {n+} at the end of a line.
func trailingLiteral(line []byte) literalMark {
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || line[len(line)-1] != '}' {
		return literalMark{}
	}
	body := line[open+1 : len(line)-1]
	digits, now := bytes.CutSuffix(body, []byte("+"))
	if len(digits) == 0 {
		return literalMark{}
	}
	size := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return literalMark{}
		}
		size = min(size*10+int(c-'0'), maxCommand+1) // cannot overflow
	}
	return literalMark{size: size, waits: !now, present: true}
}

// A command is what was read of a client's command so far.
type command struct {
	tag    string
	verb   string // in upper case
	tokens []token
	size   int  // octets, literals included
	after  bool // the line goes on right behind a literal
	drop   bool // it was answered; the rest of it is only read
}

// forget wipes the arguments: they may be secrets. The tag stays for the answer.
func (c *command) forget() {
	for _, t := range c.tokens {
		clear(t.text)
	}
	c.tokens, c.size, c.after, c.drop = nil, 0, false, false
}

// add appends a token; text is copied.
func (c *command) add(kind tokenKind, text []byte) error {
	if len(c.tokens) == maxTokens {
		return errSyntax
	}
	c.tokens = append(c.tokens, token{kind, bytes.Clone(text)})
	return nil
}

// read takes the arguments in a piece of the command's line: what stands behind
// the verb, or behind a literal. Runs of spaces count as one, as with Dovecot.
func (c *command) read(piece []byte) (literalMark, error) {
	glued := c.after // the last token has no space behind it yet
	c.after = false
	for len(piece) > 0 {
		switch first := piece[0]; {
		case first == ' ':
			glued, piece = false, piece[1:]
			continue
		case first == ')':
			if err := c.add(closing, nil); err != nil {
				return literalMark{}, err
			}
			glued, piece = true, piece[1:]
			continue
		case glued:
			return literalMark{}, errSyntax
		case first == '(':
			if err := c.add(opening, nil); err != nil {
				return literalMark{}, err
			}
			piece = piece[1:]
			continue
		case first == '{':
			mark := trailingLiteral(piece)
			if !mark.present || bytes.LastIndexByte(piece, '{') != 0 {
				return literalMark{}, errSyntax
			}
			return mark, nil
		case first == '"':
			text, n, err := unquote(piece)
			if err != nil {
				return literalMark{}, err
			}
			err = c.add(quoted, text)
			clear(text)
			if err != nil {
				return literalMark{}, err
			}
			piece = piece[n:]
		default:
			n := 0
			for n < len(piece) && argumentChar(piece[n]) {
				n++
			}
			if n == 0 {
				return literalMark{}, errSyntax
			}
			if err := c.add(atom, piece[:n]); err != nil {
				return literalMark{}, err
			}
			piece = piece[n:]
		}
		glued = true
	}
	return literalMark{}, nil
}

// unquote reads the quoted string that s begins with, and tells how much of s it
// takes. Octets above 127 are taken: RFC 9051 §9 allows UTF-8, old clients send
// passwords in Latin-1, and where RFC 6855 §5 bars both from LOGIN the back end
// gets them by PLAIN. Controls are not.
func unquote(s []byte) (text []byte, n int, err error) {
	text = make([]byte, 0, len(s))
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			return text, i + 1, nil
		case c == '\\':
			i++
			if i == len(s) || (s[i] != '"' && s[i] != '\\') {
				clear(text)
				return nil, 0, errSyntax
			}
			c = s[i]
		case c < ' ' || c == 0x7f:
			clear(text)
			return nil, 0, errSyntax
		}
		text = append(text, c)
	}
	clear(text)
	return nil, 0, errSyntax
}

// appendQuoted appends s as a quoted string. The caller has seen to it that s
// holds no controls.
func appendQuoted[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}
