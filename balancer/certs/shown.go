package certs

import (
	"strconv"
	"strings"
)

// shown is a name, or a path, as a line of text may have it. Whoever makes a
// certificate writes names in it as he likes: what could end the line, or do something
// to a terminal, is quoted.
func shown(name string) string {
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("*._-/:", r)
	})
	if odd || name == "" {
		return strconv.QuoteToASCII(name)
	}
	return name
}
