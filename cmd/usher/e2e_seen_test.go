package main_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

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
		if open := strings.IndexByte(line, '{'); open >= 0 && !strings.HasPrefix(line, "#") {
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
