package scenario

import (
	"path"
	"strings"
)

// given are the metrics that scenarios hand in, by the pattern of their names (as
// in package path), the first that fits. Those in brackets depend on the machine or
// on what there was to measure: kernel memory, say. A test holds every scenario to it.
var given = []struct{ scenarios, metrics string }{
	{"login-imaps-resumed", "cpu_us rate p50_ms p99_ms failed resumed [cpu_us_aside]"},
	{"login-rate", "cpu_us p50_ms p99_ms failed behind_ms [cpu_us_aside]"},
	{"login-*", "cpu_us rate p50_ms p99_ms failed [cpu_us_aside]"},
	{"down-*", "cpu_s_per_gb mb_per_s"},
	{"up-*", "cpu_s_per_gb mb_per_s"},
	{"noop-beside", "p50_ms p99_ms failed unsent behind_ms"},
	{"noop-beside-logins", "p50_ms p99_ms failed unsent behind_ms login_rate"},
	{"noop-*", "cpu_us rate p50_ms p99_ms failed"},
	{"idle-0", "cpu_ms_per_s"},
	{"idle-*-warm", "pss_kib private_kib files threads [kernel_kib] [pss_kernel_kib]"},
	{"idle-*", "pss_kib private_kib files threads cpu_ms_per_s [kernel_kib] [pss_kernel_kib]"},
	{"storm", "back_s p50_ms p99_ms cpu_us refused lost restart_s resumed behind_ms"},
	{"day", "cpu_ms_per_user_hour login_p99_ms p50_ms p99_ms failed behind_ms [cpu_ms_per_user_hour_aside]"},
	{"fleet-1", "cpu_us rate p50_ms p99_ms failed cpu_us_one rate_one"},
	{"fleet-*", "cpu_us rate p50_ms p99_ms failed cpu_us_one rate_one cpu_ms_per_s_others " +
		"death_failures death_lost death_s death_p99_ms death_behind_ms"},
	{"soak", "pss_mib pss_mib_ratio private_mib private_mib_ratio files files_ratio threads threads_ratio " +
		"mb_per_s mb_per_s_ratio direct_mb_per_s direct_mb_per_s_ratio cpu_ms_per_s failed [login_p50_ms] " +
		"[kernel_mib] [kernel_mib_ratio] [cpu_ms_per_s_ratio] [login_p50_ms_ratio]"},
}

// A Metric is what a scenario hands in.
type Metric struct {
	Name  string
	Maybe bool // not on every machine
}

// Metrics are those of a scenario; none if there is no such scenario.
func Metrics(scenario string) []Metric {
	for _, g := range given {
		if ok, _ := path.Match(g.scenarios, scenario); !ok {
			continue
		}
		var all []Metric
		for name := range strings.FieldsSeq(g.metrics) {
			bare := strings.Trim(name, "[]")
			all = append(all, Metric{bare, bare != name})
		}
		return all
	}
	return nil
}
