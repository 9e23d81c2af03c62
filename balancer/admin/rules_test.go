package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// monitoring is where the rules and the dashboard are.
const monitoring = "../../docs/monitoring/"

func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if cmp.Or(os.Getenv("CI"), os.Getenv("USHER_REQUIRE_REAL")) != "" {
			t.Fatal("promtool is not installed: apt-get install prometheus")
		}
		t.Skip("SKIPPED, promtool is not installed: apt-get install prometheus")
	}
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Dir = dir
	if memory, err := os.MkdirTemp("/dev/shm", "usher-test-"); err == nil { //nolint:usetesting // it syncs a lot
		t.Cleanup(func() { os.RemoveAll(memory) })
		cmd.Env = append(os.Environ(), "TMPDIR="+memory)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func monitored(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(monitoring + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// expressions are those of a file of rules.
func expressions(text string) []string {
	var list []string
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		body, ok := strings.CutPrefix(strings.TrimSpace(line), "expr: ")
		if !ok {
			continue
		}
		if body == "|" {
			body = ""
			for _, more := range lines[i+1:] {
				if strings.HasPrefix(strings.TrimSpace(more), "- ") || more == "" {
					break
				}
				body += more + "\n"
			}
		} else if strings.HasPrefix(body, "'") {
			body = strings.ReplaceAll(strings.Trim(body, "'"), "''", "'")
		}
		list = append(list, body)
	}
	return list
}

// everywhere are labels that Prometheus puts on.
var everywhere = []string{"job", "instance"}

// clients are metrics of others that the rules ask for.
var clients = []string{"up", "process_open_fds", "process_max_fds", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"}

// catalogue has every metric with its labels, recorded ones too.
func catalogue(rules string) map[string][]label {
	known := make(map[string][]label)
	for _, m := range allMetrics() {
		if m.kind == histogram {
			known[m.name+"_bucket"] = append(slices.Clone(m.labels), label{name: "le"})
			known[m.name+"_sum"], known[m.name+"_count"] = m.labels, m.labels
			continue
		}
		known[m.name] = m.labels
	}
	for _, name := range clients {
		known[name] = nil
	}
	for _, found := range regexp.MustCompile(`record: (\S+)`).FindAllStringSubmatch(rules, -1) {
		level, _, _ := strings.Cut(found[1], ":") // by convention the labels it has
		known[found[1]] = nil
		for name := range strings.SplitSeq(level, "_") {
			known[found[1]] = append(known[found[1]], label{name: name})
		}
	}
	return known
}

var (
	selector = regexp.MustCompile(`([a-z][a-z_0-9]*(?::[a-zA-Z_0-9:]+)?)\s*(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(by|on|without|group_left)\s*\(([^)]*)\)`)
	isMetric = regexp.MustCompile(`^(usher_|process_|go_|[a-z_]+:)`)
)

// unknown says what an expression asks for that there is not.
func unknown(expr string, known map[string][]label) []string {
	var faults []string
	labels := slices.Clone(everywhere)
	var groups []string
	expr = grouping.ReplaceAllStringFunc(expr, func(part string) string {
		for name := range strings.SplitSeq(grouping.FindStringSubmatch(part)[2], ",") {
			if name = strings.TrimSpace(name); name != "" {
				groups = append(groups, name)
			}
		}
		return ""
	})
	for _, found := range selector.FindAllStringSubmatch(expr, -1) {
		name, matchers := found[1], found[2]
		if !isMetric.MatchString(name) {
			continue
		}
		has, ok := known[name]
		if !ok {
			faults = append(faults, "no metric "+name)
			continue
		}
		for _, l := range has {
			labels = append(labels, l.name)
		}
		for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
			i := slices.IndexFunc(has, func(l label) bool { return l.name == m[1] })
			switch {
			case i < 0 && !slices.Contains(everywhere, m[1]):
				faults = append(faults, fmt.Sprintf("%s has no label %s", name, m[1]))
			case i >= 0 && strings.Contains(has[i].values, "`") && !strings.Contains(has[i].values, "`"+m[3]+"`"):
				faults = append(faults, fmt.Sprintf("%s is never %q in %s", m[1], m[3], name))
			}
		}
	}
	for _, name := range groups {
		if !slices.Contains(labels, name) {
			faults = append(faults, "nothing has a label "+name)
		}
	}
	return faults
}

// TestUnknown: what judges the rules finds faults.
func TestUnknown(t *testing.T) {
	known := catalogue("record: job_proto:usher_login_seconds:p95_5m\n")
	for expr, want := range map[string]string{
		`usher_nonsense == 1`:                                                         "no metric usher_nonsense",
		`rate(usher_auth_total{verb="x"}[5m])`:                                        "usher_auth_total has no label verb",
		`rate(usher_auth_total{result="nope"}[5m])`:                                   `result is never "nope" in usher_auth_total`,
		`sum by (job, color) (usher_ready)`:                                           "nothing has a label color",
		`usher_login_seconds{proto="imap"}`:                                           "no metric usher_login_seconds",
		`job:usher_nonsense:rate5m > 1`:                                               "no metric job:usher_nonsense:rate5m",
		`sum by (job, result) (rate(usher_auth_total[5m]))`:                           "",
		`job_proto:usher_login_seconds:p95_5m{proto="x"} > 5`:                         "",
		`histogram_quantile(0.5, sum by (le) (rate(usher_login_seconds_bucket[5m])))`: "",
	} {
		if got := strings.Join(unknown(expr, known), "; "); got != want {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

// TestRules has Prometheus' tool judge and try the rules, and holds them to the metrics.
func TestRules(t *testing.T) {
	rules, alerts, tests := monitored(t, "usher.rules.yml"), monitored(t, "usher.alerts.yml"), monitored(t, "usher.alerts.test.yml")
	known := catalogue(rules)
	exprs := append(expressions(rules), expressions(alerts)...)
	if n := strings.Count(rules+alerts, "expr: "); len(exprs) != n {
		t.Fatalf("%d expressions were read of %d", len(exprs), n)
	}
	for _, expr := range exprs {
		for _, fault := range unknown(expr, known) {
			t.Errorf("%s: %s", expr, fault)
		}
	}
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(alerts, -1)
	if len(names) == 0 {
		t.Fatal("no alerts")
	}
	for _, found := range names {
		name := found[1]
		if !strings.Contains(tests, "alertname: "+name+"\n        exp_alerts:\n          - exp_labels:") {
			t.Errorf("no test shows that %s fires", name)
		}
		_, own, _ := strings.Cut(tests, "      # "+name+"\n")
		if own, _, _ = strings.Cut(own, "      # "); !strings.Contains(own, `"calm`) {
			t.Errorf("no test shows that %s is silent", name)
		}
		if !strings.Contains(string(page), "\n### "+name+"\n") {
			t.Errorf("docs/monitoring.md does not say what to do about %s", name)
		}
		if !strings.Contains(alerts, "runbook: docs/monitoring.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not say where to read on", name)
		}
	}
	promtool(t, monitoring, "check", "rules", "usher.rules.yml", "usher.alerts.yml")
	promtool(t, monitoring, "test", "rules", "usher.alerts.test.yml")
}

// A grafana is what we look at of a dashboard.
type grafana struct {
	Panels []struct {
		Title, Type string
		Targets     []struct{ Expr string }
	}
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}

// TestDashboard holds the dashboard to the metrics, and its expressions to Prometheus'
// parser.
func TestDashboard(t *testing.T) {
	var d grafana
	if err := json.Unmarshal([]byte(monitored(t, "usher.dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	known := catalogue(monitored(t, "usher.rules.yml"))
	var file bytes.Buffer
	file.WriteString("groups:\n- name: dashboard\n  rules:\n")
	rows := map[string]bool{}
	n := 0
	for _, p := range d.Panels {
		if p.Type == "row" {
			rows[p.Title] = true
		} else if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$job", "usher").Replace(target.Expr)
			for _, fault := range unknown(expr, known) {
				t.Errorf("panel %q: %s: %s", p.Title, target.Expr, fault)
			}
			n++
			quoted, err := json.Marshal(expr) // also YAML's
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&file, "  - record: panel:%d\n    expr: %s\n", n, quoted)
		}
	}
	want := []string{"Traffic", "Logins and failures", "Latency", "Back ends", "TLS and certificates", "Fleet", "Resources"}
	if got := slices.Sorted(maps.Keys(rows)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("rows %q, want %q", got, want)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", path)
}
