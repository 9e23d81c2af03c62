package result

// A rival is whom usher is held against.
type rival int

const (
	bestPeer  rival = iota // the best of all peers
	bestNginx              // the better one of nginx mail's two configurations
	bestOther              // the best of all but usher's own variants and no proxy at all
	itself                 // usher in another scenario
	nobody                 // a bound that depends on no other
)

// An ask is one figure that usher is asked to reach.
type ask struct {
	must     int    // its number in the list of what must be shown
	title    string // what the figure is
	scenario string
	metric   string
	better   string // [Lower]: at most the bound; [Higher]: at least
	against  rival
	base     string  // itself: the other scenario
	bound    float64 // of the ratio usher / rival; nobody: of usher's value
}

// unmeasurable is the CPU time, in ms per second, below which a program counts as
// idle: a thousandth of one CPU, which the measuring itself may cause.
const unmeasurable = 1

// asked is what usher is asked to reach, as ratios within one run: figures of other
// machines and days prove nothing.
var asked = []ask{
	{1, "CPU per login, IMAPS, full handshake", "login-imaps", "cpu_us", Lower, bestPeer, "", 0.80},
	{1, "the same against nginx mail", "login-imaps", "cpu_us", Lower, bestNginx, "", 0.70},
	{1, "CPU per login, IMAPS, resumed", "login-imaps-resumed", "cpu_us", Lower, bestPeer, "", 0.75},
	{1, "CPU per login, STARTTLS", "login-starttls", "cpu_us", Lower, bestPeer, "", 0.80},
	{1, "the same against nginx mail", "login-starttls", "cpu_us", Lower, bestNginx, "", 0.70},
	{1, "CPU per login, POP3S", "login-pop3s", "cpu_us", Lower, bestPeer, "", 0.80},
	{1, "the same against nginx mail", "login-pop3s", "cpu_us", Lower, bestNginx, "", 0.70},

	{2, "process memory, 2,000 idle sessions", "idle-2000", "pss_kib", Lower, bestPeer, "", 0.08},
	{2, "the same after traffic", "idle-2000-warm", "pss_kib", Lower, bestPeer, "", 0.08},
	{2, "process memory, 9,500 idle sessions", "idle-9500", "pss_kib", Lower, bestPeer, "", 0.08},
	{2, "the same after traffic", "idle-9500-warm", "pss_kib", Lower, bestPeer, "", 0.08},
	{2, "with kernel memory, 2,000 idle sessions", "idle-2000", "pss_kernel_kib", Lower, bestPeer, "", 0.40},
	{2, "the same after traffic", "idle-2000-warm", "pss_kernel_kib", Lower, bestPeer, "", 0.40},
	{2, "with kernel memory, 9,500 idle sessions", "idle-9500", "pss_kernel_kib", Lower, bestPeer, "", 0.40},
	{2, "the same after traffic", "idle-9500-warm", "pss_kernel_kib", Lower, bestPeer, "", 0.40},
	{2, "CPU of nobody at all, after a warm-up", "idle-0", "cpu_ms_per_s", Lower, nobody, "", unmeasurable},
	{2, "CPU of 2,000 idle sessions", "idle-2000", "cpu_ms_per_s", Lower, nobody, "", unmeasurable},
	{2, "CPU of 9,500 idle sessions", "idle-9500", "cpu_ms_per_s", Lower, nobody, "", unmeasurable},

	{3, "CPU per GB down, TLS, 1 session", "down-tls-1", "cpu_s_per_gb", Lower, bestPeer, "", 0.67},
	{3, "CPU per GB down, TLS, 8 sessions", "down-tls-8", "cpu_s_per_gb", Lower, bestPeer, "", 0.67},
	{3, "CPU per GB up, TLS, 1 session", "up-tls-1", "cpu_s_per_gb", Lower, bestPeer, "", 0.67},
	{3, "CPU per GB up, TLS, 8 sessions", "up-tls-8", "cpu_s_per_gb", Lower, bestPeer, "", 0.67},
	{3, "CPU per GB down, plaintext, 1 session", "down-plain-1", "cpu_s_per_gb", Lower, bestPeer, "", 0.70},
	{3, "CPU per GB down, plaintext, 8 sessions", "down-plain-8", "cpu_s_per_gb", Lower, bestPeer, "", 0.70},
	{3, "CPU per GB up, plaintext, 1 session", "up-plain-1", "cpu_s_per_gb", Lower, bestPeer, "", 0.70},
	{3, "CPU per GB up, plaintext, 8 sessions", "up-plain-8", "cpu_s_per_gb", Lower, bestPeer, "", 0.70},

	{4, "CPU per round trip, TLS, all on one CPU", "noop-tls-1cpu", "cpu_us", Lower, bestPeer, "", 0.75},
	{4, "CPU per round trip, TLS, 16 sessions", "noop-tls-16", "cpu_us", Lower, bestPeer, "", 0.75},
	{4, "99th percentile, TLS, all on one CPU", "noop-tls-1cpu", "p99_ms", Lower, bestOther, "", 1},
	{4, "99th percentile, TLS, 16 sessions", "noop-tls-16", "p99_ms", Lower, bestOther, "", 1},

	{5, "storm: until all are back", "storm", "back_s", Lower, bestOther, "", 1},
	{5, "storm: refused", "storm", "refused", Lower, nobody, "", 0},
	{5, "storm: not back in time", "storm", "lost", Lower, nobody, "", 0},
	{5, "mixed day: CPU per user and hour", "day", "cpu_ms_per_user_hour", Lower, bestOther, "", 1},

	{6, "logins per second of a node of three", "fleet-3", "rate_one", Higher, itself, "fleet-1", 0.95},
	{6, "CPU per login of a node of three", "fleet-3", "cpu_us_one", Lower, itself, "fleet-1", 1.05},
	{6, "logins per second of a node of five", "fleet-5", "rate_one", Higher, itself, "fleet-1", 0.95},
	{6, "CPU per login of a node of five", "fleet-5", "cpu_us_one", Lower, itself, "fleet-1", 1.05},
}

// steady is what a soak is asked for: the medians of its last minute are those of
// its first.
var steady = []struct{ series, title string }{
	{"pss_mib", "soak: memory"},
	{"files", "soak: descriptors"},
	{"mb_per_s", "soak: throughput"},
}

const (
	steadyWithin  = 0.03    // by how much the two may differ, either way
	steadyMinute  = 60      // seconds
	steadySeconds = 29 * 60 // a soak is half an hour long, less what comes after its last sample
)

// A Use is a figure that a verdict or a capacity is made from.
type Use struct{ Scenario, Metric string }

// Uses are all figures of a full run that the report looks for by name. Who measures
// holds them to what there is: of a name that nobody gives nothing would be said but
// that it was not measured.
func Uses() []Use {
	var uses []Use
	for _, a := range asked {
		uses = append(uses, Use{a.scenario, a.metric})
		if a.against == itself {
			uses = append(uses, Use{a.base, a.metric})
		}
	}
	for _, s := range steady {
		uses = append(uses, Use{"soak", s.series})
	}
	for _, c := range (&Run{}).costs() {
		if c.metric != "" && c.scenario != "" {
			uses = append(uses, Use{c.scenario, c.metric})
		}
	}
	return uses
}

// A Title is a metric that the report has words for, in the chapter of the scenarios
// whose names begin with one of the prefixes.
type Title struct {
	Prefixes []string
	Metric   string
}

// Titles are all of them.
func Titles() []Title {
	var titles []Title
	for _, g := range groups {
		for _, m := range g.metrics {
			titles = append(titles, Title{g.prefixes, m.name})
		}
	}
	return titles
}
