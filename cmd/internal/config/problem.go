package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing that is wrong with a configuration, or, as a warning,
// one that an operator should look at.
type Problem struct {
	File         string // as it was named to Load or Parse
	Line, Column int    // from 1, the column in bytes; 0 where there is no place
	Warning      bool   // usher starts nevertheless
	Message      string // what is wrong and what is allowed
}

// String is the form that editors jump to: file:line:col: message.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		b.WriteByte(':')
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is all that was found, in the order of the file. It is the error of
// [Load] and [Parse].
type Problems []Problem

// Error is one problem a line, without a newline at the end.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Errors are those that keep usher from starting.
func (ps Problems) Errors() Problems { return ps.filter(false) }

// Warnings are the others.
func (ps Problems) Warnings() Problems { return ps.filter(true) }

// Err is ps as an error, or nil if there are only warnings.
func (ps Problems) Err() error {
	if errs := ps.Errors(); len(errs) > 0 {
		return errs
	}
	return nil
}

func (ps Problems) filter(warning bool) Problems {
	var some Problems
	for _, p := range ps {
		if p.Warning == warning {
			some = append(some, p)
		}
	}
	return some
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// A reporter collects the problems of one source.
type reporter struct {
	source
	found Problems
}

// at reports a problem of the key at path. Where the file does not have the
// key, the place is that of the table that should.
func (r *reporter) at(path, format string, args ...any) {
	r.add(r.position(path), false, fmt.Sprintf(format, args...))
}

// warn is at for what does not keep usher from starting.
func (r *reporter) warn(path, format string, args ...any) {
	r.add(r.position(path), true, fmt.Sprintf(format, args...))
}

func (r *reporter) add(pos position, warning bool, message string) {
	r.found = append(r.found, Problem{
		File: r.file, Line: pos.line, Column: pos.column, Warning: warning, Message: message,
	})
}
