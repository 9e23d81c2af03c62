// Package scenario is what the benchmark does to a target, and in which order.
//
// A [Course] is a list of [Part]s that share one start of a target; each part is
// a scenario, has a file of its own, and hands its figures to the [Round] it runs
// in. [Run] goes through the courses: every repetition of a course takes all
// targets in turn, so that a machine that gets slower meanwhile gets slower for
// all.
//
// It knows nothing of single targets: what they serve and how they start is for
// package peers, what a client says is for package load, what an operating system
// counts is for package gauge, and what figures mean together is for package
// result.
//
// Laws: all targets get the same load, in content, order and number, drawn from
// one seed; latency counts from when something was to begin, not from when the
// load got round to it, wherever arrivals do not wait for answers; a part hands in
// all the figures that it promises or an error; what goes wrong with one target
// is a fault in the result and never ends the run; when a run ends, however it
// ends, every process that it started has ended.
package scenario
