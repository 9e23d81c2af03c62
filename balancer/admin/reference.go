package admin

import (
	"fmt"
	"strings"
)

// preface is the first part of docs/metrics.md.
const preface = `# Metrics

usher serves these at ` + "`/metrics`" + ` on the address of ` + "`admin.http`" + `, in Prometheus' text
form. Units are seconds and octets. Counters begin at zero when usher starts. No
label has a user's name or an address in it: who is connected is told by
` + "`usher sessions`" + ` and the log.

The labels ` + "`listener`, `pool` and `backend`" + ` are names in the configuration. ` + "`proto`" + ` is
` + "`imap` or `pop3`" + `. Counts of a listener stay when it is closed, until usher ends.

The official Go client adds ` + "`go_*`" + ` (memory, garbage collection, goroutines) and
` + "`process_*`" + ` (descriptors, memory, CPU, start time).

This page is made from the source (balancer/admin/metric.go); a test holds the
two equal.

| metric | type | meaning | labels |
| --- | --- | --- | --- |
`

// promise is the last part.
const promise = `
## What stays

Names, types, units and labels of this table stay as they are within a major version,
and so do the values of labels that are listed here. New metrics, new labels' values and
new reasons may come. What has to go is named in CHANGELOG.md, and served for one
minor version more. ` + "`go_*`" + ` and ` + "`process_*`" + ` are the Go client's, and stay as it has them.

Rules, alerts and a dashboard made of these are in [monitoring.md](monitoring.md).
`

// Reference is docs/metrics.md: every metric of usher's own, in Markdown.
func Reference() string {
	var s strings.Builder
	s.WriteString(preface)
	for _, m := range allMetrics() {
		var labels []string
		for _, l := range m.labels {
			text := "`" + l.name + "`"
			if l.values != "" {
				text += " (" + l.values + ")"
			}
			labels = append(labels, text)
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.help, strings.Join(labels, "; "))
	}
	s.WriteString(promise)
	return s.String()
}
