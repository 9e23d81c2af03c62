package main_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// updateDocs has the tests write what commands really print into the manual.
var updateDocs = flag.Bool("update", false, "write into docs/ what is printed and what Chromium shows")

// updateEnv is how the process in a network of its own gets to know of it.
const updateEnv = "USHER_TEST_UPDATE"

func updating() bool { return os.Getenv(updateEnv) == "true" }

// lookers are commands that change nothing. What they show comes to be within
// moments, so they are repeated until it is as the manual says, as a reader does.
var lookers = []string{
	"usher status", "usher sessions", "usher fleet status", "usher node list", "usher backend list", "usher user where", "usher user list",
	"usher cert list", "usher explain", "usher events", "usher penalty list", "usher check-health", "curl -s", "cat ", "tail ", "grep ", "doveadm who", "systemctl is-active",
}

// looksFor is how long they are repeated; settled is how long, for -update, they have
// to say the same.
const (
	looksFor = 15 * time.Second
	settled  = 2 * time.Second
)

// TestManualTutorial runs the tutorial, from the package to three nodes.
func TestManualTutorial(t *testing.T) { runManual(t, "tutorial.md") }

// TestManualQuickstart runs the quick start, and the pages of single subjects on the node
// that it has set up.
func TestManualQuickstart(t *testing.T) {
	runManual(t, "quickstart.md", "monitoring.md", "api.md", "operations.md", "abuse.md")
}

// TestManualDisaster runs what is to be done when most of the fleet is lost.
func TestManualDisaster(t *testing.T) { runManual(t, "disaster-recovery.md") }

// TestManualUpgrade upgrades the fleet node by node.
func TestManualUpgrade(t *testing.T) { runManual(t, "upgrade.md") }

// runManual runs pages, of which each continues the one before, after those that the
// first continues.
func runManual(t *testing.T, names ...string) {
	t.Parallel()
	pages := manual(t)
	var chain []*page
	for i, name := range names {
		p := pages[name]
		if p == nil || !p.runs() {
			t.Fatalf("nothing of %s is run", name)
		}
		if i > 0 && p.continues != names[i-1] {
			t.Fatalf("%s continues %q, not %s", name, p.continues, names[i-1])
		}
		chain = append(chain, p)
	}
	if chain[0].long && !long() {
		t.Skip("SKIPPED, takes minutes: USHER_LONG=1")
	}
	for chain[0].continues != "" {
		p := pages[chain[0].continues]
		if p == nil {
			t.Fatalf("%s continues a page that is not there", chain[0].name)
		}
		chain = append([]*page{p}, chain...)
	}
	needsOfManual(t)
	deb, err := debianPackage() // before any time is taken
	if err != nil {
		t.Fatal(err)
	}
	if !inNetwork(t, packedAt+"="+deb) {
		return
	}
	began := time.Now()
	r := &reader{t: t, lab: newLaboratory(t, chain)}
	t.Logf("machines: %v", since(began))
	defer r.tell()
	for _, p := range chain {
		began = time.Now()
		r.read(p, slices.Contains(names, p.name))
		t.Logf("%s: %v", p.name, since(began))
	}
}

// A reader does what the manual says.
type reader struct {
	t       testing.TB
	lab     *laboratory
	pairs   []string // names that are exchanged
	decided bool     // whether they are
	swapped bool
	waiting []string
}

// tell shows what the ushers had to say, if anything went wrong.
func (r *reader) tell() {
	if !r.t.Failed() {
		return
	}
	for _, name := range r.lab.order {
		if log, status := r.lab.machines[name].run(r.t, "journalctl --no-pager -u usher -n 40 -o cat"); status == 0 {
			r.t.Logf("end of usher's log on %s:\n%s", name, log)
		}
	}
}

// names are what has to be exchanged now.
func (r *reader) names() []string {
	if r.swapped {
		return r.pairs
	}
	return nil
}

// read follows a page to its end, or to the first thing that is not as it says; that
// may be written there.
func (r *reader) read(p *page, write bool) {
	r.t.Helper()
	lines := slices.Clone(p.lines)
	moved := 0 // by how many lines what was written made the page longer
	for _, b := range p.blocks {
		if len(b.either) > 0 {
			r.waiting = b.either
		}
		for _, c := range b.commands {
			began := time.Now()
			want := p.lines[c.from:c.to]
			got, ok := r.do(c, b, want)
			if took := time.Since(began); took > time.Second {
				r.t.Logf("%v: %s# %s", took.Round(time.Millisecond), c.host, c.text)
			}
			switch {
			case ok:
			case updating() && write:
				got = exchanged(got, r.names())
				for i, line := range got {
					got[i] = strings.TrimRight(line, " \r")
				}
				lines = slices.Replace(lines, c.from+moved, c.to+moved, got...)
				moved += len(got) - len(want)
			default:
				r.t.Fatalf("%s:%d: %s# %s\n--- the manual says\n%s\n--- it printed\n%s", p.name, c.from, c.host, c.text,
					strings.Join(exchanged(want, r.names()), "\n"), strings.Join(got, "\n"))
			}
		}
	}
	if write && !slices.Equal(lines, p.lines) {
		if err := os.WriteFile(filepath.Join(manualDir, p.name), []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			r.t.Error(err)
		}
	}
}

// do does one command and reports whether it printed what it should.
func (r *reader) do(c command, b block, want []string) (got []string, ok bool) {
	r.t.Helper()
	m := r.lab.machines[exchange(c.host, r.names())]
	if m == nil {
		r.t.Fatalf("there is no machine %s for: %s", c.host, c.text)
	}
	looks := slices.ContainsFunc(lookers, func(l string) bool { return strings.HasPrefix(c.text, l) })
	began, same := time.Now(), time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last []string
	for {
		run := func(text string) (string, int) { return m.run(r.t, text) }
		if strings.HasPrefix(c.text, "scp ") {
			run = func(text string) (string, int) { return r.lab.carry(m, text) }
		}
		text, status := run(exchange(c.text, r.names()))
		got = nil
		if text != "" {
			got = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		good := (status != 0) == b.fails
		if good && r.fits(want, got, b) {
			return got, true
		}
		if !slices.Equal(level(last, b), level(got, b)) {
			last, same = got, time.Now()
		}
		switch {
		case looks && (!updating() || len(want) > 0) && time.Since(began) < looksFor:
		case looks && updating() && (!good || time.Since(same) < settled) && time.Since(began) < looksFor:
		case !good && updating(): // go on, and see what else there is
			r.t.Errorf("%s# %s\nexit status %d\n%s", m.name, c.text, status, text)
			return got, false
		case !good:
			r.t.Fatalf("%s# %s\nexit status %d\n%s", m.name, c.text, status, text)
		default:
			return got, false
		}
		<-tick.C
	}
}

func level(lines []string, b block) []string {
	var out []string
	for _, line := range lines {
		out = append(out, leveled(line, b.varies))
	}
	return out
}

// fits compares; where the manual leaves open which of two names it is, the first
// output that says so settles it.
func (r *reader) fits(want, got []string, b block) bool {
	if matches(exchanged(want, r.names()), got, b.varies) {
		if len(b.either) > 0 && !slices.Equal(want, exchanged(want, r.waiting)) {
			r.decided = true
		}
		return true
	}
	if !r.decided && len(b.either) > 0 && matches(exchanged(want, r.waiting), got, b.varies) {
		r.decided, r.swapped, r.pairs = true, true, r.waiting
		r.t.Logf("%v are exchanged from here on", r.pairs)
		return true
	}
	return false
}
