package main_test

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A transcript is what a process has printed so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends to the transcript.
func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines returns those that match a regular expression.
func (l *transcript) lines(pattern string) []string {
	re := regexp.MustCompile(pattern)
	var lines []string
	for line := range strings.Lines(l.String()) {
		if line = strings.TrimSuffix(line, "\n"); re.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// await waits until n lines match, and returns all that do.
func (l *transcript) await(t testing.TB, pattern string, n int) []string {
	t.Helper()
	var lines []string
	if !poll(patience, func() bool { lines = l.lines(pattern); return len(lines) >= n }) {
		t.Fatalf("usher's log: %d lines match %q, want %d", len(lines), pattern, n)
	}
	return lines
}

// field returns the value of a key in a line of slog's text.
func field(line, key string) string {
	m := regexp.MustCompile(`(?:^| )` + regexp.QuoteMeta(key) + `=("(?:[^"\\]|\\.)*"|[^ ]*)`).FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	if text, err := strconv.Unquote(m[1]); err == nil {
		return text
	}
	return m[1]
}

// tally counts the values of a key.
func tally(lines []string, key string) map[string]int {
	counts := map[string]int{}
	for _, line := range lines {
		counts[field(line, key)]++
	}
	return counts
}

// metric is the sum of a metric's samples whose labels include those given, each
// written as in the exposition: proto="imap".
func (p *proc) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	status, text := p.ask("/metrics")
	if status != 200 {
		t.Fatalf("/metrics: status %d: %s", status, text)
	}
	var sum float64
	seen := false
	for line := range strings.Lines(text) {
		sample, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Contains(line, "{") && !strings.HasPrefix(line, "#") {
			end := strings.LastIndex(line, "} ")
			sample, value, ok = line[:end+1], strings.TrimSpace(line[end+2:]), true
		}
		base, inside, _ := strings.Cut(sample, "{")
		if !ok || base != name {
			continue
		}
		seen = true
		matches := true
		for _, label := range labels {
			matches = matches && strings.Contains(","+strings.TrimSuffix(inside, "}")+",", ","+label+",")
		}
		if !matches {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("/metrics: %q: %v", line, err)
		}
		sum += v
	}
	if !seen {
		t.Fatalf("/metrics has no %s", name)
	}
	return sum
}
