package config

import (
	"fmt"
	"strings"
	"time"
)

const manualHead = `.TH USHER.TOML 5 "%s" "usher" "usher"
.nh
.ad l
.SH NAME
usher.toml \- the configuration of usher
.SH SYNOPSIS
.B %s
.SH DESCRIPTION
usher reads one file in the language TOML.
Below is every key with its meaning.
A value that is shown is the default, unless an example is announced.
Relative paths start from the directory of the file.
.B usher check
tells all that is wrong with a file;
.B systemctl reload usher
takes up what has changed, except where it says restart.
.SH KEYS
`

const manualTail = `.SH FILES
.TP
.I %s
where the file is when nobody says otherwise
.SH SEE ALSO
.BR usher (8),
.BR usher\-check (8),
.BR usher\-config (8)
`

// Manual is the Reference as a manual page in the language of man(7).
func Manual(date time.Time) string {
	w := new(strings.Builder)
	fmt.Fprintf(w, manualHead, date.Format(time.DateOnly), roff(DefaultPath))
	var said []string // comments that are not yet written
	say := func(before string) {
		if len(said) > 0 {
			w.WriteString(before)
		}
		for _, line := range said {
			w.WriteString(roff(line) + "\n")
		}
		said = nil
	}
	for line := range strings.Lines(strings.TrimPrefix(Reference(), referenceHead)) {
		line = strings.TrimSuffix(line, "\n")
		text, comment := strings.CutPrefix(line, "# ")
		switch {
		case line == "":
			say(".PP\n")
		case comment:
			said = append(said, text)
		case strings.HasPrefix(line, "["):
			fmt.Fprintf(w, ".SS %s\n", roff(line))
			say("")
		default: // a key, of which its comments come first
			fmt.Fprintf(w, ".TP\n.B %s\n", roff(strings.TrimPrefix(line, "#")))
			if len(said) == 0 {
				said = []string{"As above."}
			}
			say("")
		}
	}
	say(".PP\n")
	fmt.Fprintf(w, manualTail, roff(DefaultPath))
	return w.String()
}

// roff writes a text as one that man(7) shows as it is.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
