package imap

import (
	"bytes"
	"slices"
	"strings"

	"usher.example/sniff"
)

// command takes the first line of a command.
func (f *front) command(dst, line []byte) ([]byte, sniff.Event, error) {
	f.commands++
	if f.commands > maxCommands {
		return f.leave(dst, ErrCommands)
	}
	if f.commands == 1 && sniff.IsProxyHeader(line) {
		return f.leave(dst, sniff.ErrProxyHeader)
	}
	tag, args, ok := cutTag(line)
	if !ok { // never guess which octets were meant as a tag
		dst = append(dst, "* BAD Invalid tag\r\n"...)
		return f.mistake(dst, line)
	}
	args = bytes.TrimLeft(args, " ")
	verb, args, _ := bytes.Cut(args, []byte(" "))
	f.cmd.forget()
	f.cmd.tag, f.cmd.verb = tag, strings.ToUpper(string(verb[:min(len(verb), len("AUTHENTICATE")+1)]))
	if !slices.Contains(commands, f.cmd.verb) {
		return f.bad(dst, "Unknown command, or not before login", line)
	}
	if f.cmd.verb == "LOGIN" { // before a password is asked for
		if r, refused := f.forbidden(sniff.Command); refused {
			return f.no(dst, r, line)
		}
	}
	return f.collect(dst, args)
}

// literal takes the octets of a literal.
func (f *front) literal(dst, octets []byte) ([]byte, sniff.Event, error) {
	f.state, f.cmd.after = frontRest, true
	if f.cmd.drop {
		return dst, stepped, nil
	}
	if bytes.IndexByte(octets, 0) >= 0 { // CHAR8 is %x01-ff (RFC 9051 §9); Dovecot CVE-2019-11500
		dst = appendTagged(dst, f.cmd.tag, "BAD", "NUL in a literal")
		return f.mistakeInside(dst)
	}
	if err := f.cmd.add(quoted, octets); err != nil {
		dst = appendTagged(dst, f.cmd.tag, "BAD", "Too many arguments")
		return f.mistakeInside(dst)
	}
	return dst, stepped, nil
}

// mistakeInside counts a bad command whose line is not at its end.
func (f *front) mistakeInside(dst []byte) ([]byte, sniff.Event, error) {
	dst, ev, err := f.mistake(dst, nil)
	if err == nil {
		f.state, f.cmd.drop = frontRest, true
	}
	return dst, ev, err
}

// rest takes the line behind a literal.
func (f *front) rest(dst, line []byte) ([]byte, sniff.Event, error) {
	if f.cmd.drop {
		return f.drop(dst, line)
	}
	return f.collect(dst, line)
}

// collect takes a piece of the command's arguments, up to the end of its line.
func (f *front) collect(dst, piece []byte) ([]byte, sniff.Event, error) {
	f.cmd.size += len(piece)
	mark, err := f.cmd.read(piece)
	if err != nil {
		return f.bad(dst, "Syntax error", piece)
	}
	if !mark.present {
		return f.execute(dst)
	}
	limit := f.literalLimit()
	switch {
	case limit == 0:
		return f.bad(dst, "No literal is expected there", piece)
	case mark.size > limit, f.cmd.size+mark.size > maxCommand:
		// The client gets no "+", so nothing of it comes (RFC 9051 §4.3);
		// if it does not wait, mistake drops it (RFC 7888 §4).
		return f.bad(dst, "[TOOBIG] Literal too long", piece)
	}
	if mark.waits {
		dst = append(dst, "+ go on\r\n"...)
	}
	return f.expect(dst, mark.size)
}

// expect goes on with a literal of so many octets.
func (f *front) expect(dst []byte, size int) ([]byte, sniff.Event, error) {
	f.cmd.size += size
	f.state, f.need = frontLiteral, size
	if size == 0 { // there is nothing to wait for
		return f.literal(dst, nil)
	}
	return dst, stepped, nil
}

// literalLimit returns how long the next literal of the command may be; 0 means
// that none belongs there.
func (f *front) literalLimit() int {
	switch n := len(f.cmd.tokens); {
	case f.cmd.verb == "LOGIN" && n < 2:
		return maxLiteral
	case f.cmd.verb == "ID" && n > 0 && n < maxTokens-1 && f.cmd.tokens[0].kind == opening:
		if n%2 == 1 {
			return maxKey
		}
		return maxValue
	}
	return 0
}

// bad answers a bad command; piece is the line at whose end we are.
func (f *front) bad(dst []byte, text string, piece []byte) ([]byte, sniff.Event, error) {
	return f.mistake(appendTagged(dst, f.cmd.tag, "BAD", text), piece)
}

// no refuses a command that is good by itself.
func (f *front) no(dst []byte, r sniff.Refusal, piece []byte) ([]byte, sniff.Event, error) {
	dst = f.appendNo(dst, r)
	return f.drop(dst, piece)
}

func (f *front) appendNo(dst []byte, r sniff.Refusal) []byte {
	a, text := appendRefusal(nil, r)
	return appendTagged(dst, f.cmd.tag, a.status, string(text))
}

// mistake counts a bad command that was answered.
func (f *front) mistake(dst, piece []byte) ([]byte, sniff.Event, error) {
	f.mistakes++
	if f.mistakes >= maxMistakes {
		return f.leave(dst, ErrMistakes)
	}
	return f.drop(dst, piece)
}

// drop goes on behind a command that was answered. If its line announces a
// literal that does not wait for us, that is part of the command and must not be
// taken for the next one.
func (f *front) drop(dst, piece []byte) ([]byte, sniff.Event, error) {
	mark := trailingLiteral(piece)
	if !mark.present || mark.waits {
		f.cmd.forget()
		f.state = frontReady
		return dst, stepped, nil
	}
	size := f.cmd.size + len(piece)
	f.cmd.forget()
	f.cmd.drop, f.cmd.size = true, size
	if mark.size > maxLiteral || size+mark.size > maxCommand {
		return f.leave(dst, ErrLiteral)
	}
	return f.expect(dst, mark.size)
}
