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

The official Go client adds ` + "`go_*`" + ` (memory, garbage collection, goroutines) and
` + "`process_*`" + ` (descriptors, memory, CPU, start time).

This page is made from the source (balancer/admin/metric.go); a test holds the
two equal.

| metric | type | meaning | labels |
| --- | --- | --- | --- |
`

// Reference is docs/metrics.md: every metric of usher's own, in Markdown.
func Reference() string {
	var s strings.Builder
	s.WriteString(preface)
	for _, m := range metrics {
		var labels []string
		for _, l := range m.labels {
			labels = append(labels, fmt.Sprintf("`%s` (%s)", l.name, l.values))
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.help, strings.Join(labels, "; "))
	}
	return s.String()
}
