package result

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Number writes a value with three significant digits, and all digits before
// the point: nothing that is measured here is known better.
func Number(v float64) string {
	size := math.Abs(v)
	if v == 0 || size >= 1e15 || size < 1e-6 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	// The exponent after rounding: 99.96 is 100, not 100.0.
	rounded := strconv.FormatFloat(size, 'e', 2, 64)
	exponent, err := strconv.Atoi(rounded[strings.IndexByte(rounded, 'e')+1:])
	if err != nil {
		panic(err) // strconv has written it
	}
	return strconv.FormatFloat(v, 'f', max(0, 2-exponent), 64)
}

// ratio writes what part one value is of another: to the hundredth, or as finely
// as bounds below a tenth ask for.
func ratio(v float64) string {
	if v > 0 && v < 0.1 {
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// percent writes a part of 1.
func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }

// withUnit adds a unit, if there is one.
func withUnit(text, unit string) string {
	if unit == "" {
		return text
	}
	return text + " " + unit
}

// markup keeps a text from being read as Markdown or HTML, or from ending its
// cell.
var markup = strings.NewReplacer(
	"\r", " ", "\n", " ", "\t", " ", "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, "\\", `\\`,
)

// escape makes any text one cell of a table.
func escape(text string) string { return markup.Replace(text) }

// cleaned is a text as it can be kept and shown: valid UTF-8 without control
// characters, not longer than a text may be.
func cleaned(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText-len("…")], "") + "…"
}
