package result

import (
	"fmt"
	"slices"
	"strings"
)

// A group is a chapter of the report: scenarios that belong together.
type group struct {
	name     string   // of its part in a page
	title    string   // its heading
	prefixes []string // of its scenarios' names
	metrics  []metric // in the order of its tables
}

// A metric is what people call one.
type metric struct {
	name  string
	title string
	plot  bool // worth a picture
}

// groups are the chapters. A scenario belongs to the first whose prefix it has;
// the last takes what no other has, so that nothing measured is left unsaid.
var groups = []group{
	{"logins", "Logins", []string{"login-"}, []metric{
		{"cpu_us", "CPU per login", true},
		{"cpu_us_aside", "CPU per login of a helper, which is not in the target's", false},
		{"rate", "Rate of logins", true},
		{"p50_ms", "Time of a login, median", false},
		{"p99_ms", "Time of a login, 99th percentile", true},
		{"resumed", "Resumed handshakes", false},
		{"behind_ms", "Load behind its own plan, at worst", false},
	}},
	{"idle", "Idle sessions", []string{"idle-"}, []metric{
		{"pss_kib", "Process memory per session, PSS", true},
		{"private_kib", "Private memory per session", false},
		{"kernel_kib", "Kernel memory per session", false},
		{"pss_kernel_kib", "Process and kernel memory per session", true},
		{"files", "Descriptors per session", false},
		{"threads", "Threads per session", false},
		{"cpu_ms_per_s", "CPU while idle", false},
	}},
	{"throughput", "Throughput", []string{"down-", "up-"}, []metric{
		{"cpu_s_per_gb", "CPU per GB", true},
		{"mb_per_s", "Throughput", true},
	}},
	{"roundtrips", "Round trips", []string{"noop-"}, []metric{
		{"cpu_us", "CPU per round trip", true},
		{"p50_ms", "Round trip, median", false},
		{"p99_ms", "Round trip, 99th percentile", true},
		{"rate", "Rate of round trips", false},
		{"unsent", "Given up", false},
		{"login_rate", "Rate of logins beside", false},
		{"behind_ms", "Load behind its own plan, at worst", false},
	}},
	{"storm", "Reconnect storm", []string{"storm"}, []metric{
		{"back_s", "Until all are back", true},
		{"p50_ms", "Without mail, median", false},
		{"p99_ms", "Without mail, 99th percentile", true},
		{"restart_s", "Until the target is up again", false},
		{"refused", "Refused", false},
		{"lost", "Not back in time", false},
		{"cpu_us", "CPU per session", true},
		{"resumed", "Resumed handshakes", false},
		{"behind_ms", "Load behind its own plan, at worst", false},
	}},
	{"day", "Mixed day", []string{"day"}, []metric{
		{"cpu_ms_per_user_hour", "CPU per user and hour", true},
		{"p50_ms", "Time of a command, median", false},
		{"p99_ms", "Time of a command, 99th percentile", true},
		{"login_p99_ms", "Time of a login, 99th percentile", false},
		{"cpu_ms_per_user_hour_aside", "CPU per user and hour of a helper, which is not in the target's", false},
		{"behind_ms", "Load behind its own plan, at worst", false},
	}},
	{"fleet", "Fleet", []string{"fleet-"}, []metric{
		{"rate", "Rate of logins over all nodes", true},
		{"cpu_us", "CPU per login over all nodes", true},
		{"p50_ms", "Time of a login over all nodes, median", false},
		{"p99_ms", "Time of a login over all nodes, 99th percentile", false},
		{"rate_one", "Rate of logins of one node", true},
		{"cpu_us_one", "CPU per login of one node", true},
		{"cpu_ms_per_s_others", "CPU of each other node meanwhile", false},
		{"death_failures", "A node dies: attempts that failed", false},
		{"death_lost", "A node dies: logins that failed", false},
		{"death_s", "A node dies: until the last has moved", false},
		{"death_p99_ms", "A node dies: time of a login, 99th percentile", false},
		{"death_behind_ms", "A node dies: load behind its own plan, at worst", false},
	}},
	{"soak", "Soak", []string{"soak"}, []metric{
		{"pss_mib", "Process memory", false},
		{"pss_mib_ratio", "Process memory, last minute / first", false},
		{"private_mib", "Private memory", false},
		{"private_mib_ratio", "Private memory, last minute / first", false},
		{"kernel_mib", "Kernel memory", false},
		{"kernel_mib_ratio", "Kernel memory, last minute / first", false},
		{"files", "Descriptors", false},
		{"files_ratio", "Descriptors, last minute / first", false},
		{"threads", "Threads", false},
		{"threads_ratio", "Threads, last minute / first", false},
		{"mb_per_s", "Throughput of the probe", false},
		{"mb_per_s_ratio", "Throughput of the probe, last minute / first", false},
		{"direct_mb_per_s", "Throughput of the back end itself, without TLS", false},
		{"direct_mb_per_s_ratio", "Throughput of the back end itself, last minute / first", false},
		{"cpu_ms_per_s", "CPU of the mix", false},
		{"cpu_ms_per_s_ratio", "CPU of the mix, last minute / first", false},
		{"login_p50_ms", "Time of a login, median", false},
		{"login_p50_ms_ratio", "Time of a login, last minute / first", false},
	}},
	{"other", "Other scenarios", []string{""}, nil},
}

// failed is the metric that needs no table while it is 0 everywhere.
const failed = "failed"

// A table has targets in its rows and figures in its columns.
type table struct {
	name    string // of its picture's file, without the ending
	title   string
	plot    bool
	columns []column
}

// A column is a figure, and what is above it.
type column struct {
	head string
	*Figure
}

// tables are those of a group, one for each metric with a column a scenario.
func (g *group) tables(all []*Figure) []table {
	mine := slices.DeleteFunc(slices.Clone(all), func(f *Figure) bool { return groupOf(f.Scenario) != g.name })
	var scenarios []string
	metrics := slices.Clone(g.metrics)
	for _, f := range mine {
		if !slices.Contains(scenarios, f.Scenario) {
			scenarios = append(scenarios, f.Scenario)
		}
		if !slices.ContainsFunc(metrics, func(m metric) bool { return m.name == f.Metric }) {
			metrics = append(metrics, metric{name: f.Metric, title: titleOf(f.Scenario, f.Metric)})
		}
	}
	var tables []table
	for _, m := range metrics {
		t := table{name: g.name + "-" + m.name, title: m.title, plot: m.plot}
		for _, scenario := range scenarios {
			if f := figure(mine, scenario, m.name); f != nil {
				t.columns = append(t.columns, column{scenario, f})
			}
		}
		if len(t.columns) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

// joined makes one table of tables that have one column each.
func joined(tables []table) table {
	var one table
	for _, t := range tables {
		one.columns = append(one.columns, column{withParentheses(t.title, t.columns[0].Unit), t.columns[0].Figure})
	}
	return one
}

// pictures are the tables of a group that are worth a plot, one for each metric.
func (g *group) pictures(all []*Figure) []table {
	var tables []table
	for _, m := range g.metrics {
		t := table{name: g.name + "-" + m.name, title: m.title, plot: m.plot}
		for _, f := range all {
			if groupOf(f.Scenario) == g.name && f.Metric == m.name {
				t.columns = append(t.columns, column{f.Scenario, f})
			}
		}
		if m.plot && len(t.columns) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

// nothingFailed reports whether a table counts failures, and has none.
func (t table) nothingFailed() bool {
	for _, c := range t.columns {
		for _, values := range c.Values {
			if c.Metric != failed || slices.Max(values) > 0 {
				return false
			}
		}
	}
	return true
}

// chapterOf is the title of a scenario's group.
func chapterOf(scenario string) string {
	i := slices.IndexFunc(groups, func(g group) bool { return g.name == groupOf(scenario) })
	return groups[i].title
}

// titleOf is what people call a metric of a scenario; its own name if nobody does.
func titleOf(scenario, name string) string {
	for _, g := range groups {
		if g.name != groupOf(scenario) {
			continue
		}
		if i := slices.IndexFunc(g.metrics, func(m metric) bool { return m.name == name }); i >= 0 {
			return g.metrics[i].title
		}
	}
	if name == failed {
		return "Failed"
	}
	return strings.ReplaceAll(name, "_", " ")
}

// groupOf is the name of a scenario's group.
func groupOf(scenario string) string {
	for _, g := range groups {
		for _, prefix := range g.prefixes {
			if strings.HasPrefix(scenario, prefix) {
				return g.name
			}
		}
	}
	panic("the last group takes every scenario")
}

// withParentheses adds a unit to a title.
func withParentheses(title, unit string) string {
	if unit == "" {
		return title
	}
	return fmt.Sprintf("%s (%s)", title, unit)
}
