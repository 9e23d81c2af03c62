package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"usher.example/cluster/place"
)

// Pins are users with a place of their own: normalised name to back end.
type Pins map[string]string

// Bounds of a pins file.
const (
	// maxPinsFile allows a million pins of 64 bytes. A larger file is more
	// likely a wrong one, and all of it is kept in memory.
	maxPinsFile = 64 << 20
	// maxPinsLine: no user name that a login accepts is longer, with room for
	// the back end.
	maxPinsLine = 4096
	// maxPinsProblems bounds the report; a file of another format is wrong in
	// every line.
	maxPinsProblems = 50
)

// ReadPins reads a file of pins for a pool: lines of a user and a back end
// with tabs or spaces between them; empty lines, and lines that begin with #,
// are skipped. The users' names are normalised. Everything that is wrong is
// reported, with file and line: a back end that the pool does not have, a user
// with two places, a line of another form.
func ReadPins(path string, names place.Names, pool Pool) (Pins, error) {
	known := make(map[string]bool)
	for _, b := range pool.Backends {
		known[b.Name] = true
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	defer f.Close()
	return parsePins(f, path, names, known)
}

// parsePins reads pins; path is for the errors.
func parsePins(r io.Reader, path string, names place.Names, known map[string]bool) (Pins, error) {
	limited := &io.LimitedReader{R: r, N: maxPinsFile + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxPinsLine)
	pins := make(Pins)
	shared := make(map[string]string) // one copy of each back end's name
	var problems []error
	more := 0
	n := 0
	wrong := func(format string, args ...any) {
		if len(problems) == maxPinsProblems {
			more++
			return
		}
		problems = append(problems, fmt.Errorf("%s:%d: %w", path, n, fmt.Errorf(format, args...)))
	}
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 2 {
			wrong("%d words, a pin is two: a user and a back end", len(words))
			continue
		}
		user, backend := names.Normal(words[0]), words[1]
		if !known[backend] {
			wrong("the pool has no back end %q", backend)
			continue
		}
		if old, twice := pins[user]; twice && old != backend {
			wrong("user %q is pinned to %q already", user, old)
			continue
		}
		if shared[backend] == "" {
			shared[backend] = strings.Clone(backend)
		}
		pins[strings.Clone(user)] = shared[backend]
	}
	n++
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		wrong("the line is longer than %d bytes", maxPinsLine)
	case err != nil:
		wrong("read: %w", err)
	case limited.N == 0:
		wrong("the file is larger than %d MiB", maxPinsFile>>20)
	}
	if more > 0 {
		problems = append(problems, fmt.Errorf("%s: and %d more", path, more))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return pins, nil
}
