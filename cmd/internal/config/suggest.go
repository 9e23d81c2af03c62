package config

import (
	"strconv"
	"strings"
)

// quoted lists texts as people do: "a", "b" or "c".
func quoted(texts []string) string {
	var b strings.Builder
	for i, s := range texts {
		switch {
		case i > 0 && i == len(texts)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(s))
	}
	return b.String()
}

// suggestion ends an error about a word that is none of those known, if it is
// close to one.
func suggestion(word string, known []string) string {
	if best, ok := closest(word, known); ok {
		return "; did you mean " + strconv.Quote(best) + "?"
	}
	return ""
}

// maxTypo is the longest word that is compared: longer than any key.
const maxTypo = 40

// closest finds the known word that a typing error makes of word: at most a
// third of its letters differ. Case and "-" for "_" cost nothing.
func closest(word string, known []string) (best string, ok bool) {
	if len(word) > maxTypo {
		return "", false
	}
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	least := len(word)/3 + 1
	for _, k := range known {
		if d := distance(fold(word), fold(k)); d < least {
			best, least, ok = k, d, true
		}
	}
	return best, ok
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row two above
	above := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
