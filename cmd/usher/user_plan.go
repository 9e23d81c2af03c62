package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/sniff"
)

// Bounds of a file of moves.
const (
	// maxMapLine holds the longest name that can log in and the name of a back end.
	maxMapLine = 4096
	// maxMapFile is a million lines of 64 octets; a larger one is a wrong one.
	maxMapFile = 64 << 20
	// maxMapProblems bounds the report of a file of another kind.
	maxMapProblems = 50
)

// A planned move is a line of the file and what comes of it.
type planned struct {
	Line    int    `json:"line"`
	User    string `json:"user"`            // as the fleet has him
	Place   string `json:"place,omitempty"` // where a login would go now
	Why     string `json:"why,omitempty"`
	Target  string `json:"target"`
	Do      string `json:"do"` // move, pin, or none: he is there already
	spelled string // in the file
}

// What Do says.
const (
	doMove = "move" // his sessions end, and he is pinned
	doPin  = "pin"  // likewise, but he is there
	doNone = "none"
)

// problems are those of a file, a line each.
type problems struct {
	file string
	list []error
	more int
}

func (p *problems) add(line int, format string, args ...any) {
	if len(p.list) == maxMapProblems {
		p.more++
		return
	}
	p.list = append(p.list, fmt.Errorf("%s:%d: %w", p.file, line, fmt.Errorf(format, args...)))
}

func (p *problems) err() error {
	if p.more > 0 {
		return errors.Join(append(p.list, fmt.Errorf("%s: and %d more", p.file, p.more))...)
	}
	return errors.Join(p.list...)
}

// readMap reads lines of a user and a back end.
func readMap(r io.Reader, bad *problems) []*planned {
	limited := &io.LimitedReader{R: r, N: maxMapFile + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxMapLine)
	var list []*planned
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		switch {
		case len(words) != 2:
			bad.add(n, "%d words, a move is two: a user and a back end", len(words))
		case len(words[0]) > sniff.MaxUser:
			bad.add(n, "the user's name has %d octets, none has more than %d", len(words[0]), sniff.MaxUser)
		default:
			list = append(list, &planned{Line: n, spelled: words[0], Target: words[1]})
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		bad.add(n+1, "the line is longer than %d octets", maxMapLine)
	case err != nil:
		bad.add(n+1, "read: %w", err)
	case limited.N == 0:
		bad.add(n+1, "the file is larger than %d MiB", maxMapFile>>20)
	}
	return list
}

// plan reads the map and finds out what has to be done, of which nothing is done
// when anything is wrong.
func (o *bulk) plan() ([]*planned, error) {
	states, err := o.targets()
	if err != nil {
		return nil, err
	}
	in := io.NopCloser(o.cmd.InOrStdin())
	if o.file != "-" {
		if in, err = os.Open(o.file); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	bad := &problems{file: o.file}
	list := readMap(in, bad)
	for _, p := range list {
		if states[p.Target] == "" {
			bad.add(p.Line, "the pool has no back end %q", p.Target)
		}
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if err := o.look(list); err != nil {
		return nil, err
	}
	list = once(list, bad)
	closed := 0 // moves that would be refused
	for _, p := range list {
		if s := states[p.Target]; p.Do != doNone && s != "up" && !o.dry {
			bad.add(p.Line, "%s is %s and takes nobody now", p.Target, s)
			closed++
		}
	}
	if err := bad.err(); err != nil {
		if closed > 0 && closed == len(bad.list)+bad.more {
			err = &exitError{exitTemporary, err}
		}
		return nil, err
	}
	return list, nil
}

// targets are the back ends of the pool, with their states.
func (o *bulk) targets() (map[string]string, error) {
	var all admin.Backends
	if err := o.client.get(o.cmd.Context(), admin.BackendsPath, nil, &all); err != nil {
		return nil, err
	}
	var pools []string
	states := make(map[string]string)
	for _, b := range all.Backends {
		if !slices.Contains(pools, b.Pool) {
			pools = append(pools, b.Pool)
		}
		if (o.pool == "" || b.Pool == o.pool) && b.State != "removed" {
			states[b.Name] = b.State
		}
	}
	switch {
	case o.pool == "" && len(pools) > 1:
		return nil, usageError("say --pool NAME; there are: %v", pools)
	case len(states) == 0:
		return nil, &exitError{exitNotFound, fmt.Errorf("no pool %q; there are: %v", o.pool, pools)}
	}
	return states, nil
}

// look asks the node who the users are, by its rules for names, and where.
func (o *bulk) look(list []*planned) error {
	for part := range slices.Chunk(list, admin.MaxLookup) {
		q := admin.Lookup{Pool: o.pool}
		for _, p := range part {
			q.Users = append(q.Users, p.spelled)
		}
		var got admin.Lookups
		if err := o.client.post(o.cmd.Context(), admin.LookupPath, q, &got); err != nil {
			return err
		}
		if len(got.Users) != len(part) {
			return fmt.Errorf("asked about %d users, got %d answers; are usher and the running one of the same version?", len(part), len(got.Users))
		}
		for i, p := range part {
			p.settle(got.Users[i])
		}
	}
	return nil
}

// settle notes what has to be done with a user who is there.
func (p *planned) settle(w cluster.Whereabouts) {
	p.User, p.Place, p.Why = w.User, w.Place, w.Why
	switch {
	case w.Place != p.Target:
		p.Do = doMove
	case w.Pin != p.Target || w.File:
		p.Do = doPin
	default:
		p.Do = doNone
	}
}

// once finds users who are there twice. The same line again does no harm.
func once(list []*planned, bad *problems) []*planned {
	first := make(map[string]*planned, len(list))
	var out []*planned
	for _, p := range list {
		switch f := first[p.User]; {
		case f == nil:
			first[p.User] = p
			out = append(out, p)
		case f.spelled != p.spelled:
			bad.add(p.Line, "%q is the user of line %d, %q: the fleet knows both as %q", p.spelled, f.Line, f.spelled, p.User)
		case f.Target != p.Target:
			bad.add(p.Line, "user %q is to go to %s already, by line %d", p.spelled, f.Target, f.Line)
		}
	}
	return out
}

// show prints a plan.
func (o *bulk) show(list []*planned) error {
	if o.asJSON {
		return printJSON(o.cmd.OutOrStdout(), map[string]any{"users": append([]*planned{}, list...)})
	}
	t := newTable(o.cmd.OutOrStdout(), "USER", "PLACE", "WHY", "TARGET", "DO")
	counts := make(map[string]int)
	for _, p := range list {
		counts[p.Do]++
		do := p.Do
		if do == doNone {
			do = "-"
		}
		t.row(cell(p.User), cell(p.Place), cell(p.Why), cell(p.Target), do)
	}
	if err := t.print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(o.cmd.OutOrStdout(), "%s to be moved, %d to be pinned where they are, %d there already\n",
		plural(counts[doMove], "user"), counts[doPin], counts[doNone])
	return err
}
