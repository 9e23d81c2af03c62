package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxCell bounds a cell of a table, in characters: nobody's user name is
	// longer, but an attacker's is, to push others off the screen.
	maxCell = 64
	// maxText bounds a free text, such as what a back end sent.
	maxText = 200
)

// A table is columns for people. Whatever a stranger may have written goes
// through cell or text.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer, heads ...string) *table {
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	if len(heads) > 0 {
		t.row(heads...)
	}
	return t
}

func (t *table) row(cells ...string) {
	_, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t")) // Flush returns the error
}

func (t *table) print() error { return t.w.Flush() }

// cell shows a name: as it is if it is harmless, else quoted. Spaces are not
// harmless, since columns are divided by them.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	shown := shorten(s, maxCell)
	if strings.ContainsRune(shown, ' ') {
		return strconv.Quote(shown)
	}
	return safe(shown)
}

// text shows words that end a line.
func text(s string) string {
	if s == "" {
		return "-"
	}
	return safe(shorten(s, maxText))
}

// safe quotes what could do something to a terminal or deceive a reader:
// control characters, invalid UTF-8, marks that turn the direction of writing.
func safe(s string) string {
	quoted := strconv.Quote(s)
	if quoted[1:len(quoted)-1] == s {
		return s
	}
	return quoted
}

// lines are lines of text that may have others' words in them: what could do something
// to a terminal or deceive a reader is escaped, ends of lines are left.
func lines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		body, ended := strings.CutSuffix(line, "\n")
		for i, r := range body {
			size := utf8.RuneLen(r)
			if r == utf8.RuneError {
				_, size = utf8.DecodeRuneInString(body[i:])
			}
			if part := body[i : i+size]; r == '"' || r == '\\' || r == '\t' {
				b.WriteString(part)
			} else {
				quoted := strconv.Quote(part)
				b.WriteString(quoted[1 : len(quoted)-1])
			}
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func shorten(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	for i := range s {
		if limit--; limit == 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// age shows a duration by its two largest units.
func age(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
}

// moment shows a time of day, on the clock of whoever reads.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// size shows octets.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatUint(n, 10)
	}
	v := float64(n) / 1024
	i := 0
	for v >= 1024 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f%ci", v, units[i])
}

// plural says how many.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// printJSON writes for scripts. JSON lets characters pass that do something to
// a terminal, so all that cannot be printed is escaped.
func printJSON(out io.Writer, v any) error {
	encoded, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, printable(string(encoded)))
	return err
}

// printable escapes in JSON what cannot be printed.
func printable(encoded string) string {
	var s strings.Builder
	for _, r := range encoded {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			s.WriteRune(r)
		case r > 0xffff: // a pair of surrogates (RFC 8259 §7)
			r -= 0x10000
			fmt.Fprintf(&s, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&s, `\u%04x`, r)
		}
	}
	return s.String()
}
