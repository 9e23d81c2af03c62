package main_test

import (
	"regexp"
	"slices"
	"strings"
)

// kinds are what may differ between the manual and a run of it, where a block says
// so ("varies: date age"). Each is as narrow as it can be: it hides a value, never
// that there is none.
var kinds = map[string]*regexp.Regexp{
	// 2026-11-26, 2026-11-26 01:40:03, 2026-11-26T01:40:03.123Z
	"date": regexp.MustCompile(`\b\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?)?`),
	// 3s, 1m02s, 4h10m, 12.5ms
	"age": regexp.MustCompile(`\b(\d+(\.\d+)?(ms|µs|ns|s|m|h|d))+\b`),
	// names that usher makes up: of versions of the secret, of sessions
	"id": regexp.MustCompile(`\b([0-9a-f]{8}|[a-z2-7]{13})\b`),
	// the port that the client's machine chose
	"port": regexp.MustCompile(`:\d{5}\b`),
	// processes of Dovecot
	"pid": regexp.MustCompile(`\(\d+\)`),
	// of usher itself
	"version": regexp.MustCompile(`\b(devel(-[0-9a-f]+)?|v?\d+\.\d+\.\d+[-+.0-9A-Za-z~]*)`),
	// which node leads the fleet is settled by an election
	"leader": regexp.MustCompile(`(?P<keep>led by |(alive|drained|absent) +)(node\d|yes|-)`),
	// how long a certificate is good for
	"days": regexp.MustCompile(`(?P<keep>certificate_days=)\d+`),
	// how many failed logins are remembered of somebody; they fade
	"weight": regexp.MustCompile(`\b\d+\.\d\b`),
	// where a log ends
	"log": regexp.MustCompile(`(?P<keep>(term|index) )\d+`),
	// how many users stay elsewhere hangs on where their homes are
	"stays": regexp.MustCompile(`(?P<keep>pinned, )\d+`),
}

// gaps are what columns of a table are parted by: how wide a column is hangs on
// what varies.
var gaps = regexp.MustCompile(` +`)

// leveled takes out of a line what varies.
func leveled(line string, varies []string) string {
	for _, kind := range varies {
		line = kinds[kind].ReplaceAllString(line, "${keep}<"+kind+">")
	}
	if len(varies) > 0 {
		line = gaps.ReplaceAllString(line, " ")
	}
	return strings.TrimRight(line, " \r")
}

// matches reports whether output is what the manual says: line by line the same,
// but for what varies and for lines "...", which stand for any lines.
func matches(want, got, varies []string) bool {
	clean := func(lines []string) []string {
		out := make([]string, len(lines))
		for i, line := range lines {
			out[i] = leveled(line, varies)
		}
		return out
	}
	return matchLines(clean(want), clean(got))
}

func matchLines(want, got []string) bool {
	for i, line := range want {
		if line == "..." {
			for skip := 0; skip <= len(got)-i; skip++ {
				if matchLines(want[i+1:], got[i+skip:]) {
					return true
				}
			}
			return false
		}
		if i >= len(got) || got[i] != line {
			return false
		}
	}
	return len(want) == len(got)
}

// exchange exchanges names for one another (pairs "a=b").
func exchange(text string, pairs []string) string {
	for _, pair := range pairs {
		one, other, _ := strings.Cut(pair, "=")
		re := regexp.MustCompile(`\b(` + regexp.QuoteMeta(one) + `|` + regexp.QuoteMeta(other) + `)\b`)
		text = re.ReplaceAllStringFunc(text, func(s string) string {
			if s == one {
				return other
			}
			return one
		})
	}
	return text
}

// exchanged does so with lines, and puts those of a table that are about these names
// in order again: tables are sorted.
func exchanged(lines, pairs []string) []string {
	if len(pairs) == 0 {
		return lines
	}
	about := func(line string) bool {
		for _, pair := range pairs {
			one, other, _ := strings.Cut(pair, "=")
			for _, word := range strings.Fields(line)[:min(2, len(strings.Fields(line)))] {
				if word == one || word == other {
					return true
				}
			}
		}
		return false
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = exchange(line, pairs)
	}
	for i := 0; i < len(out); {
		j := i
		for j < len(out) && about(out[j]) {
			j++
		}
		slices.SortStableFunc(out[i:j], func(a, b string) int { return strings.Compare(key(a), key(b)) })
		i = max(j, i+1)
	}
	return out
}

// key is what a table is sorted by here: its first two columns.
func key(line string) string {
	f := strings.Fields(line)
	return strings.Join(f[:min(2, len(f))], " ")
}
