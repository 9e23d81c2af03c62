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

// alerts is the last part.
const alerts = `
Worth an alert:

| what | expression |
| --- | --- |
| a back end is down | ` + "`usher_backend_up == 0`" + ` for 2 minutes |
| a node has lost its fleet and serves on, or a certificate ends soon | ` + "`usher_degraded == 1`" + ` for 1 minute |
| a pool serves nobody | ` + "`usher_pool_usable_backends == 0`" + ` |
| logins are not possible | ` + "`sum(rate(usher_auth_total{result=\"error\"}[5m])) / sum(rate(usher_auth_total[5m])) > 0.05`" + ` |
| nobody logs in | ` + "`sum(increase(usher_auth_total{result=\"ok\"}[10m])) == 0`" + ` |
| logins are slow | ` + "`histogram_quantile(0.95, sum by (le) (rate(usher_login_seconds_bucket[5m]))) > 5`" + ` |
| a certificate is not renewed | ` + "`usher_cert_not_after_timestamp_seconds - time() < 7 * 86400`" + ` (of a life below three weeks: a third of it) |
| something is wrong with a certificate | ` + "`usher_cert_problem == 1`" + ` for 10 minutes |
| a reload failed | ` + "`usher_config_last_reload_successful == 0`" + ` |
| descriptors run out | ` + "`process_open_fds / process_max_fds > 0.8`" + ` |
`

// Reference is docs/metrics.md: every metric of usher's own, in Markdown.
func Reference() string {
	var s strings.Builder
	s.WriteString(preface)
	for _, m := range metrics {
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
	s.WriteString(alerts)
	return s.String()
}
