package result

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// capacityPart is the part of the report that this file makes.
const capacityPart = "capacity"

// planned is the share of a node's CPU and of its memory that the table of
// capacities gives away. The other half is for the hours in which people come, for
// another node's users, for what traffic holds, and for what is not linear.
const planned = 0.5

// nodes are the machines that the table is made for.
var nodes = []struct{ cores, gib float64 }{{2, 2}, {4, 8}, {8, 16}, {16, 32}}

// sessionsPerUser is the setting in which the day says how many sessions one of
// its users has in the mean.
const sessionsPerUser = "sessions_per_user"

// A cost is what usher takes by the median of a run: what capacities are reckoned
// from.
type cost struct {
	title, scenario, metric string
	value                   float64 // 0 if it was not measured, or is not above 0
	unit                    string
}

// costs of a run, by what they are of. The scenarios are those that the figures of
// a full run are taken from; of idle sessions the largest number that was held,
// and the dearer of fresh and warm.
func (r *Run) costs() map[string]*cost {
	all := r.Figures()
	of := map[string]*cost{
		"full":    {title: "a login, full handshake", scenario: "login-imaps", metric: "cpu_us"},
		"resumed": {title: "a login, resumed", scenario: "login-imaps-resumed", metric: "cpu_us"},
		"down":    {title: "a GB down, TLS", scenario: "down-tls-8", metric: "cpu_s_per_gb"},
		"up":      {title: "a GB up, TLS", scenario: "up-tls-8", metric: "cpu_s_per_gb"},
		"hour":    {title: "a user of the day, in an hour", scenario: "day", metric: "cpu_ms_per_user_hour"},
		"back":    {title: "a session that comes back in a storm", scenario: "storm", metric: "cpu_us"},
		"memory":  {title: "an idle session, memory of process and kernel", scenario: r.held("pss_kernel_kib"), metric: "pss_kernel_kib"},
		"files":   {title: "an idle session, descriptors", scenario: r.held("files"), metric: "files"},
	}
	if memory := of["memory"]; memory.scenario == "" {
		memory.title, memory.metric = "an idle session, memory of the process alone: the kernel's was not counted", "pss_kib"
		memory.scenario = r.held(memory.metric)
	}
	for _, c := range of {
		if f := figure(all, c.scenario, c.metric); f != nil {
			if s, ok := f.Summary(usher); ok && s.Median > 0 {
				c.value, c.unit = s.Median, f.Unit
			}
		}
	}
	users := &cost{title: "sessions of a user of the day", scenario: "day"}
	if v, err := strconv.ParseFloat(r.Settings[sessionsPerUser], 64); err == nil && v > 0 && finite(v) {
		users.value = v
	}
	of["user"] = users
	return of
}

// held is the scenario in which usher has held most idle sessions, and of those the
// one in which a metric is highest; "" if it was not measured.
func (r *Run) held(metric string) (scenario string) {
	most, highest := 0, math.Inf(-1)
	for _, f := range r.Figures() {
		name, idle := strings.CutPrefix(f.Scenario, "idle-")
		n, err := strconv.Atoi(strings.TrimSuffix(name, "-warm"))
		s, ok := f.Summary(usher)
		if !idle || err != nil || !ok || f.Metric != metric || n < most || n == most && s.Median <= highest {
			continue
		}
		scenario, most, highest = f.Scenario, n, s.Median
	}
	return scenario
}

// capacityTable says what nodes carry by the costs of a run; "" if there are none.
func (r *Run) capacityTable() string {
	of := r.costs()
	rows, known := [][]string{{"usher's cost of", "median", "scenario"}, {"---", "---:", "---"}}, false
	for _, name := range []string{"full", "resumed", "down", "up", "hour", "user", "back", "memory", "files"} {
		c := of[name]
		text := "–"
		if c.value > 0 {
			text, known = withUnit(Number(c.value), c.unit), known || c.metric != ""
		}
		rows = append(rows, []string{escape(c.title), escape(text), orDash(c.scenario)})
	}
	if !known {
		return ""
	}
	table := [][]string{
		{"node", "logins/s, full", "resumed", "Gbit/s down", "up", "users by CPU", "idle sessions by memory", "users", "their descriptors", "all back after"},
		append([]string{"---"}, slices.Repeat([]string{"---:"}, 9)...),
	}
	for _, n := range nodes {
		c := carried(of, n.cores, n.gib)
		table = append(table, []string{
			fmt.Sprintf("%g cores, %g GiB", n.cores, n.gib), about(c.full), about(c.resumed), about(c.down), about(c.up),
			about(c.usersCPU), about(c.idle), about(c.users), about(c.files), withUnitOrDash(about(c.back), "s"),
		})
	}
	return lines(rows) + "\n" + lines(table) + "\n" + example(of, nodes[0].cores, nodes[0].gib)
}

// A load is what a node carries with the planned share of its CPU and memory; what
// cannot be reckoned is 0.
type load struct {
	full, resumed, down, up                     float64 // a second; Gbit/s
	usersCPU, idle, usersMemory, users, session float64
	files, back                                 float64 // back: seconds, with all of the CPU
}

// over is a / b, and 0 where either is not known.
func over(a, b float64) float64 {
	if a <= 0 || b <= 0 || !finite(a/b) {
		return 0
	}
	return a / b
}

// carried reckons what example shows the formulas of.
func carried(of map[string]*cost, cores, gib float64) load {
	cpu := cores * planned // seconds a second
	c := load{
		full: over(cpu*1e6, of["full"].value), resumed: over(cpu*1e6, of["resumed"].value),
		down: over(cpu*8, of["down"].value), up: over(cpu*8, of["up"].value),
		usersCPU: over(cpu*3600*1000, of["hour"].value),
		idle:     over(gib*(1<<20)*planned, of["memory"].value),
	}
	c.usersMemory = over(c.idle, of["user"].value)
	if c.usersCPU > 0 && c.usersMemory > 0 {
		c.users = min(c.usersCPU, c.usersMemory)
		c.session = c.users * of["user"].value
		c.files = c.session * of["files"].value
		c.back = c.session * of["back"].value / 1e6 / cores
	}
	return c
}

// example is how the first row comes about.
func example(of map[string]*cost, cores, gib float64) string {
	c := carried(of, cores, gib)
	var b strings.Builder
	step := func(known float64, format string, args ...any) {
		if known > 0 {
			fmt.Fprintf(&b, "- "+format+"\n", args...)
		}
	}
	part := percent(planned)
	step(c.full, "logins, full = %g cores × %s ÷ %s µs = %s a second", cores, part, Number(of["full"].value), about(c.full))
	step(c.down, "Gbit/s down = %g cores × %s ÷ %s s/GB × 8 bits = %s", cores, part, Number(of["down"].value), about(c.down))
	step(c.usersCPU, "users by CPU = %g cores × 3,600 s × %s ÷ %s ms = %s", cores, part, Number(of["hour"].value), about(c.usersCPU))
	step(c.idle, "idle sessions by memory = %g GiB × %s ÷ %s KiB = %s", gib, part, Number(of["memory"].value), about(c.idle))
	step(c.usersMemory, "users by memory = those ÷ %s sessions of a user = %s", Number(of["user"].value), about(c.usersMemory))
	if c.users > 0 {
		bound := "CPU"
		if c.usersMemory < c.usersCPU {
			bound = "memory"
		}
		step(c.users, "users = the smaller of the two, that of %s = %s, who have %s sessions", bound, about(c.users), about(c.session))
	}
	step(c.files, "descriptors = these sessions × %s = %s", Number(of["files"].value), about(c.files))
	step(c.back, "all back after = these sessions × %s µs ÷ %g cores, all of the CPU = %s s", Number(of["back"].value), cores, about(c.back))
	if b.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("The node of %g cores and %g GiB, step by step:\n\n", cores, gib) + b.String()
}

// about writes a capacity with two digits, rounded down, and its thousands apart:
// no plan is better than that. 0 is what is not known.
func about(v float64) string {
	if v <= 0 {
		return "–"
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	v = math.Floor(v/unit+1e-9) * unit
	if v < 10 {
		return strconv.FormatFloat(v, 'f', int(max(0, -math.Round(math.Log10(unit)))), 64)
	}
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func withUnitOrDash(text, unit string) string {
	if text == "–" {
		return text
	}
	return withUnit(text, unit)
}
