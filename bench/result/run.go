// Package result keeps what a run of the benchmark has measured: as JSON, and as
// the tables and plots that people read.
//
// It measures nothing and starts nothing: figures come in as a [Run], in which
// one [Sample] is one value of one metric in one repetition, and every word said
// about them (median, spread, ratio, verdict) is worked out here, from the
// samples alone. So a table can be made again from a file at any time.
//
// Plots are written here and not by a library. gonum.org/v1/plot, the one that is
// kept best, was tried: its SVG names one font, with no other to fall back on, and
// places texts by that font's measures; it has no title for those who do not see;
// broken bars would have to be drawn by hand all the same; and it comes with eight
// modules. A bar with its whiskers is six elements.
//
// Laws: the same Run always gives the same octets, in JSON, Markdown and SVG;
// what is written can be read back to an equal Run; a file is bounded in size,
// and a field, schema or number that is not known is refused rather than
// guessed; a target that is missing or lost is said to be, as plainly as one
// that won.
package result

import (
	"strings"
	"time"
)

// Schema is the number of the file format. A file with another one is refused:
// its figures may mean something else.
const Schema = 1

// Directions of a metric, for [Sample.Better].
const (
	Lower  = "lower"  // less is better: costs, latencies
	Higher = "higher" // more is better: rates
)

// A Run is all that one run of the benchmark has measured. It is plain data: not
// safe for changes by several goroutines at once.
type Run struct {
	Schema   int               `json:"schema"`
	Started  time.Time         `json:"started"`    // UTC
	Elapsed  time.Duration     `json:"elapsed_ns"` // from start to end of the whole run
	Machine  Machine           `json:"machine"`
	Settings map[string]string `json:"settings"` // what the run was asked to do: "repetitions": "5"
	Targets  []Target          `json:"targets"`  // in the order of the tables
	Samples  []Sample          `json:"samples"`
	Series   []Series          `json:"series"`
	Faults   []Fault           `json:"faults"`
}

// A Machine says where a run took place. Empty and zero fields are not known.
type Machine struct {
	CPU          string `json:"cpu,omitempty"` // model
	Cores        int    `json:"cores,omitempty"`
	Memory       int64  `json:"memory_octets,omitempty"`
	Kernel       string `json:"kernel,omitempty"`       // uname -r
	Distribution string `json:"distribution,omitempty"` // PRETTY_NAME of os-release
	Arch         string `json:"arch,omitempty"`         // GOARCH
	Go           string `json:"go,omitempty"`           // what built usher and the benchmark
}

// A Target is one of the programs that were measured.
type Target struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Note    string `json:"note,omitempty"`    // what one should know to compare it: "knows no user"
	Missing string `json:"missing,omitempty"` // why it was not measured; empty if it was
}

// A Sample is one value of one metric, of one target in one repetition of one
// scenario. The four together are unique in a Run.
type Sample struct {
	Scenario   string  `json:"scenario"` // "login-imaps"
	Target     string  `json:"target"`   // the name of one of [Run.Targets]
	Metric     string  `json:"metric"`   // "cpu_us"
	Unit       string  `json:"unit"`     // "µs", as people write it
	Better     string  `json:"better"`   // [Lower] or [Higher]; the same for all samples of a scenario's metric
	Repetition int     `json:"repetition"`
	Value      float64 `json:"value"` // finite
}

// A Series is how one thing changed in the course of one repetition: memory in a
// soak, sessions in a storm. X and Y have the same length; X are seconds since
// the scenario's start and do not fall.
type Series struct {
	Scenario   string    `json:"scenario"`
	Target     string    `json:"target"`
	Name       string    `json:"name"` // "sessions"
	Unit       string    `json:"unit"` // of Y
	Repetition int       `json:"repetition"`
	X          []float64 `json:"x"`
	Y          []float64 `json:"y"`
}

// A Fault is something that went wrong, and why samples may be missing: a target
// that did not start, sessions that were refused.
type Fault struct {
	Scenario   string `json:"scenario"`
	Target     string `json:"target"`
	Repetition int    `json:"repetition"`
	Text       string `json:"text"`
}

// Reference reports whether a target is no peer, but something to hold peers
// against: usher itself and its variants, the naive proxy, no proxy at all.
func Reference(target string) bool {
	return target == "naive" || target == "direct" || target == usher || strings.HasPrefix(target, usher+"-")
}

// usher is the target that all of this is about.
const usher = "usher"
