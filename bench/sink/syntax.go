package sink

import (
	"bytes"
	"encoding/base64"
	"math"
)

// cutLine returns the first line without its end, and its length with that; 0 if
// there is none.
func cutLine(in []byte) (line []byte, n int) {
	n = bytes.IndexByte(in, '\n') + 1
	if n == 0 {
		return nil, 0
	}
	return bytes.TrimSuffix(in[:n-1], []byte("\r")), n
}

// maxVerb is longer than any verb that we know.
const maxVerb = 16

// upper is a verb in upper case, as far as there is room: none, of a longer one.
func upper(room *[maxVerb]byte, name []byte) []byte {
	if len(name) > maxVerb {
		return nil
	}
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		room[i] = c
	}
	return room[:len(name)]
}

// literal takes apart "{size}" or "{size+}" that ends a line (RFC 9051 §4.3, RFC
// 7888); wait tells whether the client waits for leave.
func literal(s []byte) (size int64, wait, ok bool) {
	s, begins := bytes.CutPrefix(s, []byte("{"))
	s, ends := bytes.CutSuffix(s, []byte("}"))
	if !begins || !ends {
		return 0, false, false
	}
	s, plus := bytes.CutSuffix(s, []byte("+"))
	size, ok = number(s)
	return size, !plus, ok
}

// number is a number of octets.
func number(s []byte) (n int64, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(s) > 0
}

// plain takes the password out of a response of SASL PLAIN in base64 (RFC 4616).
func plain(response []byte) (password string, ok bool) {
	message, err := base64.StdEncoding.AppendDecode(nil, response)
	if err != nil {
		return "", false
	}
	parts := bytes.Split(message, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return "", false
	}
	return string(parts[2]), true
}

// words takes the words of a command apart: atoms, quoted strings and literals
// (RFC 9051 §4).
type words struct {
	in  []byte
	at  int
	ask bool // a literal's octets must be asked for first
	bad bool // it is none of IMAP's; the count of octets is to the line's end
}

// all returns the words up to the command's end and the length of all that, or 0
// if it is not there yet. granted is how many literals were asked for already.
func (w *words) all(granted int) (n int, found [][]byte) {
	for w.at < len(w.in) {
		switch w.in[w.at] {
		case ' ':
			w.at++
		case '\n':
			return w.at + 1, found
		case '\r':
			if w.at++; w.at < len(w.in) && w.in[w.at] != '\n' {
				return w.broken()
			}
		case '"':
			word, ok := w.quoted()
			if !ok {
				return w.broken()
			}
			found = append(found, word)
		case '{':
			line, n := cutLine(w.in[w.at:])
			if n == 0 {
				return 0, nil
			}
			size, wait, ok := literal(line)
			if !ok || size > maxLine {
				return w.broken()
			}
			if wait {
				if granted--; granted < 0 {
					w.ask = true
					return 0, nil
				}
			}
			if w.at += n; len(w.in)-w.at < int(size) {
				return 0, nil
			}
			found = append(found, w.in[w.at:w.at+int(size)])
			w.at += int(size)
		default:
			end := bytes.IndexAny(w.in[w.at:], " \r\n")
			if end < 0 {
				return 0, nil
			}
			found = append(found, w.in[w.at:w.at+end])
			w.at += end
		}
	}
	return 0, nil
}

// broken gives up at the end of the line that is looked at, if that is there.
func (w *words) broken() (int, [][]byte) {
	w.bad = true
	_, n := cutLine(w.in[w.at:])
	if n == 0 {
		return 0, nil
	}
	return w.at + n, nil
}

// quoted takes a quoted string, which must end in its line.
func (w *words) quoted() (word []byte, ok bool) {
	for i := w.at + 1; i < len(w.in); i++ {
		switch c := w.in[i]; c {
		case '"':
			w.at = i + 1
			return word, true
		case '\n':
			return nil, false
		case '\\':
			if i++; i == len(w.in) {
				return nil, false
			}
			word = append(word, w.in[i])
		default:
			word = append(word, c)
		}
	}
	return nil, false
}
