package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The manual (docs/*.md) is a program: what a reader can paste is run, what it
// prints has to be what stands there. Blocks of a page say by their language what
// they are:
//
//	hosts     the machines of the page, as /etc/hosts on each of them
//	console   a terminal: "node1# command" and below it what it prints
//	others    nothing that is run
//
// A command goes on in the next line behind a backslash, and behind <<EOF until
// EOF. A line "..." of the output stands for any lines. Comments of HTML, which a
// reader of the page does not see, say what is special about the block below them:
//
//	<!-- varies: date age -->   what differs each time, see kinds
//	<!-- either: mail1=mail2 --> from here on all of it holds with the names
//	                             exchanged as well, and one of both holds for good
//	<!-- fails -->              its commands have an exit status that is not 0
//	<!-- not run: WHY -->       a console that is only shown
//
// and about the page, at its top:
//
//	<!-- continues: tutorial.md --> the machines are those that page left
//	<!-- long -->                   it is run with USHER_LONG only

// manualDir is where the manual is, from here.
const manualDir = "../../docs"

// A page is one file of the manual.
type page struct {
	name      string
	lines     []string
	blocks    []block
	continues string
	long      bool
}

// A block is what stands between two fences.
type block struct {
	language string
	first    int // line of the page, from 0, that is the first inside
	last     int // line of the closing fence
	commands []command
	varies   []string
	either   []string // pairs "a=b"
	fails    bool
	notRun   string // why
}

// A command is one prompt with what it prints.
type command struct {
	host string
	text string // as it is typed, without the prompt
	from int    // lines of the page in which the output is
	to   int
}

// comment is a comment of HTML that says something to the runner.
func comment(line string) (word, rest string, ok bool) {
	line, ok = strings.CutPrefix(strings.TrimSpace(line), "<!--")
	if !ok {
		return "", "", false
	}
	line, ok = strings.CutSuffix(line, "-->")
	if !ok {
		return "", "", false
	}
	word, rest, _ = strings.Cut(strings.TrimSpace(line), ":")
	return word, strings.TrimSpace(rest), true
}

// parsePage reads a page. Whatever it is given it does not panic; what it cannot
// understand is an error with the line.
func parsePage(name, text string) (*page, error) {
	p := &page{name: name, lines: strings.Split(text, "\n")}
	var next block // what comments say of the block below
	inside := false
	for i, line := range p.lines {
		switch fence, is := strings.CutPrefix(line, "```"); {
		case is && !inside:
			next.language, next.first, inside = strings.TrimSpace(fence), i+1, true
		case is:
			next.last, inside = i, false
			if err := p.add(next); err != nil {
				return nil, err
			}
			next = block{}
		case inside:
		case strings.TrimSpace(line) == "":
		default:
			word, rest, ok := comment(line)
			if !ok {
				next = block{} // the comments were not right above a block
				continue
			}
			switch word {
			case "varies":
				next.varies = strings.Fields(rest)
			case "either":
				next.either = strings.Fields(rest)
			case "fails":
				next.fails = true
			case "not run":
				next.notRun = rest
			case "continues":
				p.continues = rest
			case "long":
				p.long = true
			case "bench":
				next = block{} // a part that bench/report.go fills: nothing to run
			default:
				return nil, fmt.Errorf("%s:%d: the runner does not know %q", name, i+1, word)
			}
		}
	}
	if inside {
		return nil, fmt.Errorf("%s:%d: a block that does not end", name, next.first)
	}
	return p, nil
}

// add takes a block with its commands.
func (p *page) add(b block) error {
	for _, kind := range b.varies {
		if _, ok := kinds[kind]; !ok {
			return fmt.Errorf("%s:%d: nothing is known that varies as %q", p.name, b.first, kind)
		}
	}
	for _, pair := range b.either {
		if one, other, ok := strings.Cut(pair, "="); !ok || one == "" || other == "" || one == other {
			return fmt.Errorf("%s:%d: %q is not a pair a=b", p.name, b.first, pair)
		}
	}
	if b.language == "console" && b.notRun == "" {
		for i := b.first; i < b.last; {
			c, ok := prompt(p.lines[i])
			if !ok {
				return fmt.Errorf("%s:%d: a console begins with a prompt like node1#, got %q", p.name, i+1, p.lines[i])
			}
			if i++; strings.HasSuffix(c.text, "\\") {
				for more := true; more && i < b.last; i++ {
					c.text += "\n" + p.lines[i]
					more = strings.HasSuffix(p.lines[i], "\\")
				}
			}
			if end, ok := hereEnd(c.text); ok {
				for more := true; more; i++ {
					if i == b.last {
						return fmt.Errorf("%s:%d: no line %s ends the text", p.name, b.first, end)
					}
					c.text += "\n" + p.lines[i]
					more = p.lines[i] != end
				}
			}
			c.from = i
			for i < b.last {
				if _, ok := prompt(p.lines[i]); ok {
					break
				}
				i++
			}
			c.to = i
			b.commands = append(b.commands, c)
		}
	}
	p.blocks = append(p.blocks, b)
	return nil
}

// prompt is a line like "node1# usher status".
func prompt(line string) (command, bool) {
	host, text, ok := strings.Cut(line, "# ")
	if !ok || host == "" || text == "" {
		return command{}, false
	}
	for _, r := range host {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return command{}, false
		}
	}
	return command{host: host, text: text}, true
}

// hereEnd is the word that ends the text which a command is given (<<EOF).
func hereEnd(text string) (string, bool) {
	_, rest, ok := strings.Cut(text, "<<")
	if !ok {
		return "", false
	}
	word, _, _ := strings.Cut(strings.TrimLeft(rest, "'"), "\n")
	word = strings.TrimRight(strings.Fields(word + " x")[0], "'")
	return word, word != "x" && word != ""
}

// hosts are the machines of a page: name and address, in the order of the file.
func (p *page) hosts() (names, addresses []string) {
	for _, b := range p.blocks {
		if b.language != "hosts" {
			continue
		}
		for _, line := range p.lines[b.first:b.last] {
			if f := strings.Fields(line); len(f) > 1 {
				names, addresses = append(names, f[len(f)-1]), append(addresses, f[0])
			}
		}
	}
	return names, addresses
}

// runs reports whether anything of the page is run.
func (p *page) runs() bool {
	return slices.ContainsFunc(p.blocks, func(b block) bool { return len(b.commands) > 0 })
}

// manual reads all pages.
func manual(t testing.TB) map[string]*page {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(manualDir, "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manual: %v", err)
	}
	pages := map[string]*page{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePage(filepath.Base(file), string(text))
		if err != nil {
			t.Fatal(err)
		}
		pages[p.name] = p
	}
	return pages
}
