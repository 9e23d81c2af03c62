package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// MaxFile bounds a file that is read, in octets. A full run of twelve targets,
// forty scenarios and five repetitions takes some 3 MB.
const MaxFile = 64 << 20

// WriteFile writes the run as indented JSON, each sample on a line of its own.
// The same run gives the same file. Texts of targets and faults may be anything:
// what cannot be shown is replaced, and what is too long cut. Otherwise a run that
// does not hold together (see [Run.Validate]) is not written.
func (r *Run) WriteFile(name string) error {
	var b bytes.Buffer
	if err := r.encode(&b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// ReadFile reads a run that [Run.WriteFile] has written. It refuses what is too
// large, has another schema or unknown fields, or does not hold together.
func ReadFile(name string) (*Run, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := decode(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return r, nil
}

// A head is a [Run] without its long lists: fields that are shallower hide those
// of the same name below.
type head struct {
	*Run
	Samples struct{} `json:"samples,omitzero"`
	Series  struct{} `json:"series,omitzero"`
	Faults  struct{} `json:"faults,omitzero"`
}

func (r *Run) encode(b *bytes.Buffer) error {
	r = r.printable()
	if err := r.Validate(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(head{Run: r}, "", "  ")
	if err != nil {
		return err
	}
	b.Write(bytes.TrimSuffix(text, []byte("\n}")))
	if err := errors.Join(list(b, "samples", r.Samples), list(b, "series", r.Series), list(b, "faults", r.Faults)); err != nil {
		return err
	}
	b.WriteString("\n}\n")
	return nil
}

// list appends one of the long lists with an element a line: half the size of
// what MarshalIndent makes of it, and a diff that can be read.
func list[T any](b *bytes.Buffer, name string, elements []T) error {
	fmt.Fprintf(b, ",\n  %q: [", name)
	for i, element := range elements {
		text, err := json.Marshal(element)
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		b.Write(text)
	}
	if len(elements) > 0 {
		b.WriteString("\n  ")
	}
	b.WriteByte(']')
	return nil
}

// printable is the run with every text as it can be kept: what a program has said
// of itself, or at its end, is not worth the run that it is part of.
func (r *Run) printable() *Run {
	c := *r
	c.Targets, c.Faults = slices.Clone(r.Targets), slices.Clone(r.Faults)
	for i, t := range c.Targets {
		c.Targets[i].Version, c.Targets[i].Note, c.Targets[i].Missing = cleaned(t.Version), cleaned(t.Note), cleaned(t.Missing)
	}
	for i, f := range c.Faults {
		c.Faults[i].Text = cleaned(f.Text)
	}
	return &c
}

// decode reads one run, and nothing behind it.
func decode(in io.Reader) (*Run, error) {
	text, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("more than %d octets: not a result of this benchmark", MaxFile)
	}
	// The number first: what else is wrong with another schema is no news.
	var format struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(text, &format); err != nil {
		return nil, err
	}
	if format.Schema != Schema {
		return nil, fmt.Errorf("schema %d, want %d: run the benchmark again with this version", format.Schema, Schema)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	r := new(Run)
	if err := d.Decode(r); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}
