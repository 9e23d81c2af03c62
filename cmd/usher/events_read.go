package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxMessage bounds a line of a stream, in octets: an event is far shorter, and a list
// of nodes is, too.
const maxMessage = 1 << 20

// A message is one of a stream of server-sent events (WHATWG HTML §9.2). A comment
// comes as one without anything.
type message struct{ id, kind, data string }

// readMessages reads a stream and calls got for each message, until either fails. What
// ends before its empty line is none.
func readMessages(r io.Reader, got func(message) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMessage)
	var m message
	var data []string
	size := 0
	for lines.Scan() {
		line := lines.Text()
		if size += len(line); size > maxMessage {
			return errors.New("a message is too long")
		}
		if line == "" {
			m.data = strings.Join(data, "\n")
			if err := got(m); err != nil {
				return err
			}
			m, data, size = message{}, nil, 0
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			m.id = value
		case "event":
			m.kind = value
		case "data":
			data = append(data, value)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
