package dovecot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	// pollEvery is how often something that can only be looked at is looked at.
	pollEvery = 5 * time.Millisecond

	// patience is how long a start, an end or a log line is waited for: a
	// hundred times what each takes on an idle machine, since several test
	// binaries under the race detector may share two cores.
	patience = 30 * time.Second

	// logTailSize is how much of the log a failed test shows, in octets.
	logTailSize = 8 << 10
)

// Log returns everything the server has logged so far, over restarts too.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.file("dovecot.log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("read Dovecot's log: %v", err)
	}
	return string(text)
}

// Logged returns the log's lines so far that match a regular expression.
func (s *Server) Logged(pattern string) []string {
	re := regexp.MustCompile(pattern)
	var lines []string
	for line := range strings.Lines(s.Log()) {
		if line = strings.TrimSuffix(line, "\n"); re.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// WaitLog returns the first line of the log that matches a regular expression,
// waiting for it if need be: Dovecot logs after it has answered. No such line
// within 30 s fails the test.
func (s *Server) WaitLog(t testing.TB, pattern string) string {
	t.Helper()
	return s.WaitLogN(t, pattern, 1)[0]
}

// WaitLogN waits until at least n lines of the log match, and returns them all.
func (s *Server) WaitLogN(t testing.TB, pattern string, n int) []string {
	t.Helper()
	var lines []string
	if !poll(patience, func() bool {
		lines = s.Logged(pattern)
		return len(lines) >= n
	}) {
		t.Fatalf("log of %s: %d lines match %q, want %d", s.opts.Name, len(lines), pattern, n)
	}
	return lines
}

func (s *Server) logTail() string {
	text := s.Log()
	return text[max(0, len(text)-logTailSize):]
}

// poll asks until the answer is yes, and reports whether it came in time.
func poll(limit time.Duration, done func() bool) bool {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			return false
		}
		<-ticker.C
	}
	return true
}
