package main_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// faults are the failures that are a back end's.
var faults = []string{"backend_dial", "backend_tls", "backend_greeting", "backend_protocol", "backend_timeout", "backend_gone", "backend_unavailable"}

// methodOf is a mechanism as Dovecot's lines and ours in its form name it.
func methodOf(mech string) string {
	if mech == "command" {
		return "PLAIN"
	}
	return mech
}

// An evidence is all that the witnesses of a run have left.
type evidence struct {
	*agreement
	text    string // of /metrics
	log     *diary
	ledgers []ledger
	lines   map[string][]map[string]string // usher's, by the client's address
	stays   map[string]*stay               // the Dovecots', by the client's address
}

func (a *agreement) gather() *evidence {
	a.t.Helper()
	accepted := len(a.all)
	eventually(a.t, "all sessions are in the log", func() bool {
		return strings.Count(a.p.log.String(), " msg=session ") >= accepted
	})
	e := &evidence{agreement: a, log: readDiary(a.t, a.p.log.String()), lines: map[string][]map[string]string{}, stays: map[string]*stay{}}
	for _, p := range e.log.sessions {
		e.lines[p["addr"]] = append(e.lines[p["addr"]], p)
	}
	mine := map[string]bool{}
	for _, c := range a.all {
		mine[c.addr] = true
	}
	for _, srv := range a.servers {
		l := readLedger(a.t, srv)
		for _, s := range l.stays {
			if !mine[s.rip] || s.rip == "127.0.0.1" { // the rig's own
				continue
			}
			if e.stays[s.rip] != nil {
				a.fault("%s has been let in twice", s.rip)
			}
			e.stays[s.rip] = s
		}
		e.ledgers = append(e.ledgers, l)
	}
	return e
}

// failureOf is why a session was not forwarded.
func failureOf(p map[string]string) string {
	if p["result"] == "ok" {
		return "none"
	}
	return p["failure"]
}

// ended is how sessions ended: as clients saw it, and as the log has it where they
// could not know.
func (e *evidence) ended() (clients, log figures) {
	clients, log = figures{}, figures{}
	left := map[string]figures{}
	for addr, lines := range e.lines {
		left[addr] = figures{}
		for _, p := range lines {
			log.add(1, p["listener"], failureOf(p))
			left[addr].add(1, p["listener"], failureOf(p))
		}
	}
	unknown := 0
	for _, c := range e.all {
		if c.shown != "" {
			clients.add(1, c.door, c.shown)
			if left[c.addr][c.door+" "+c.shown] == 0 {
				e.fault("%s %s ended as %s, and usher has %v", c.door, c.addr, c.shown, e.lines[c.addr])
				continue
			}
			left[c.addr].add(-1, c.door, c.shown)
		} else {
			unknown++
		}
	}
	for _, f := range left {
		for key, n := range f {
			clients.add(n, key)
		}
	}
	e.t.Logf("%d of %d clients could not know how usher saw their end", unknown, len(e.all))
	return clients, log
}

// logins are what became of logins, by mechanism and by method.
func (e *evidence) logins() (byMech, clients, byMethod, log figures) {
	byMech, clients, log, byMethod = series(e.text, "usher_auth_total", "proto", "mech", "result"), figures{}, figures{}, figures{}
	for key, n := range byMech {
		k := strings.Fields(key)
		byMethod.add(n, k[0], methodOf(k[1]), k[2])
	}
	for _, c := range e.all {
		for _, try := range c.tries {
			clients.add(1, c.protocol, try.mech, try.verdict)
		}
		if c.asked && e.stays[c.addr] != nil { // only the Dovecot can tell
			clients.add(1, c.protocol, "command", "ok")
		}
	}
	for _, p := range e.log.sessions {
		if p["result"] == "ok" || p["phase"] == "answer" {
			log.add(1, p["proto"], methodOf(p["mech"]), "ok")
		}
	}
	for _, r := range e.log.refusals {
		log.add(1, r.proto, r.method, map[bool]string{true: "failed", false: "error"}[r.kind == ""])
	}
	return byMech, clients, byMethod, log
}

// verdicts are what the Dovecots have said to logins.
func (e *evidence) verdicts() figures {
	dovecots := figures{}
	for _, l := range e.ledgers {
		for _, s := range l.stays {
			if e.stays[s.rip] == s {
				dovecots.add(1, s.proto, "ok")
			}
		}
		for _, r := range l.failed {
			dovecots.add(1, r.proto, "failed")
		}
	}
	return dovecots
}

// roads are the ways to the back ends: how often users were placed, and usher connected.
func (e *evidence) roads(logins figures) []row {
	tried, nobody := figures{}, figures{}
	faulty := e.log.retries
	for key, n := range logins {
		if strings.HasSuffix(key, " ok") {
			tried.add(n, "tries")
		}
	}
	for _, r := range e.log.refusals {
		switch {
		case r.kind == "no_backend":
			nobody.add(1, "nobody")
		case r.kind != "guarded":
			tried.add(1, "tries")
		}
		if slices.Contains(faults, r.kind) {
			faulty++
		}
	}
	for _, c := range e.all {
		tried.add(c.took, "tries")
	}
	tried.add(e.log.retries, "tries")
	placed, none := figures{}, figures{}
	for why, n := range series(e.text, "usher_placements_total", "result") {
		if why == "refused" || why == "expired" {
			none.add(n, "nobody")
		} else {
			placed.add(n, "tries")
		}
	}
	dials, checks := figures{}, series(e.text, "usher_backend_checks_total")
	dials.add(series(e.text, "usher_backend_dials_total").sum()-2*checks.sum(), "tries") // a check is one of IMAP and one of POP3
	failures, bad := series(e.text, "usher_backend_failures_total").sum(), series(e.text, "usher_backend_check_failures_total").sum()
	if rest := failures - faulty; rest < bad || rest > 2*bad { // likewise; one of the two suffices for a bad check
		e.t.Errorf("%d failures of back ends: the log has %d of users' logins, which leaves %d for %d bad checks", failures, faulty, rest, bad)
	}
	return []row{
		{"placements", map[string]figures{"metrics": placed, "log and clients": tried, "dials": dials}},
		{"no place", map[string]figures{"metrics": none, "log": nobody}},
	}
}

// compare lays all figures side by side.
func (a *agreement) compare(kicked int) {
	a.t.Helper()
	began := time.Now()
	e := a.gather()
	eventually(a.t, "no check of a back end is under way", func() bool { // its dials are counted before it is
		e.text = a.scrape()
		return series(e.text, "usher_backend_dials_total").sum() == series(e.text, "usher_backend_checks_total").sum()*2+
			series(e.text, "usher_placements_total", "result").without("refused", "expired").sum()
	})
	rows := e.rows(kicked)
	wrong := 0
	for _, r := range rows {
		var parts []string
		for name, f := range r.said {
			parts = append(parts, fmt.Sprintf("%s %d", name, f.sum()))
		}
		slices.Sort(parts)
		a.t.Logf("%-24s %s", r.name, strings.Join(parts, ", "))
		for _, d := range r.differences() {
			wrong++
			a.t.Error(d)
		}
	}
	a.t.Logf("compared in %v", time.Since(began).Round(time.Millisecond))
	if wrong > 0 {
		return
	}
	for _, r := range rows { // and what is wrong by one is seen
		for name, f := range r.said {
			for key := range f {
				f[key]++
				if len(r.differences()) == 0 {
					a.t.Errorf("%s{%s} by %s could be one more, and nobody would notice", r.name, key, name)
				}
				f[key]--
			}
		}
	}
}

func (e *evidence) rows(kicked int) []row {
	var rows []row
	add := func(name string, said map[string]figures) { rows = append(rows, row{name, said}) }

	accepts, lines := figures{}, figures{}
	for _, c := range e.all {
		accepts.add(1, c.door)
	}
	for _, p := range e.log.sessions {
		lines.add(1, p["listener"])
	}
	add("accepts", map[string]figures{"metrics": series(e.text, "usher_accepts_total", "listener"), "clients": accepts, "log": lines})

	clients, log := e.ended()
	add("sessions", map[string]figures{"metrics": series(e.text, "usher_sessions_total", "listener", "failure"), "clients": clients, "log": log})

	mech, byClients, method, byLog := e.logins()
	add("auth by mech", map[string]figures{"metrics": mech, "clients": byClients})
	add("auth by method", map[string]figures{"metrics": method, "log": byLog})

	fromMetrics := figures{}
	for key, n := range mech {
		if k := strings.Fields(key); k[2] != "error" {
			fromMetrics.add(n, k[0], k[2])
		}
	}
	for _, r := range e.log.refusals { // let in by the Dovecot, and one too many for usher
		if r.kind == "limit" {
			fromMetrics.add(1, r.proto, "ok")
		}
	}
	add("logins at Dovecots", map[string]figures{"metrics": fromMetrics, "dovecots": e.verdicts()})

	ends, logEnds := series(e.text, "usher_session_ends_total", "end"), figures{}
	paths := figures{}
	bytes, logBytes, dovBytes := series(e.text, "usher_bytes_total", "proto", "dir"), figures{}, figures{}
	dead, odd := 0, 0
	toldKicked := figures{}
	for _, p := range e.log.sessions {
		if p["result"] != "ok" {
			continue
		}
		end := p["end"]
		if end == "kicked" {
			toldKicked.add(1, "kicked")
		}
		if !slices.Contains([]string{"client_closed", "server_closed", "client_lost", "server_lost", "idle"}, end) {
			end = "killed"
		}
		logEnds.add(1, end)
		paths.add(1, p["path"])
		in, out := number(p["in"]), number(p["out"])
		logBytes.add(in, p["proto"], "in")
		logBytes.add(out, p["proto"], "out")
		s := e.stays[p["addr"]]
		if s == nil {
			e.fault("no Dovecot has let in %v", p)
			continue
		}
		if !s.over { // killed: it has not said how much it was
			dead++
			dovBytes.add(in, p["proto"], "in")
			dovBytes.add(out, p["proto"], "out")
			continue
		}
		theirIn, theirOut := s.octets(e.answer[s.proto])
		dovBytes.add(theirIn, p["proto"], "in")
		dovBytes.add(theirOut, p["proto"], "out")
		if theirIn != in || theirOut != out {
			if odd++; odd < 6 {
				e.t.Logf("octets: the Dovecot has %d and %d less %d: %v", s.in, s.out, e.answer[p["proto"]], p)
			}
		}
	}
	e.t.Logf("%d sessions of a killed Dovecot have no last line there", dead)
	add("session ends", map[string]figures{"metrics": ends, "log": logEnds})
	add("established by path", map[string]figures{"metrics": series(e.text, "usher_sessions_established_total", "path"), "log": paths})
	add("octets", map[string]figures{"metrics": bytes, "log": logBytes, "dovecots": dovBytes})

	shakes, done := figures{}, figures{}
	metricDone := figures{}
	for _, c := range e.all {
		if c.shakes != "" {
			shakes.add(1, c.shakes)
		}
	}
	for _, p := range e.log.sessions {
		if p["tls"] != "" {
			done.add(1, "done")
		}
		if p["phase"] == "tls" {
			done.add(1, "failed")
		}
	}
	tls := series(e.text, "usher_tls_handshakes_total", "result")
	for key, n := range tls {
		metricDone.add(n, map[bool]string{true: "failed", false: "done"}[key == "failed"])
	}
	add("handshakes", map[string]figures{"metrics": tls, "clients": shakes})
	add("handshakes by log", map[string]figures{"metrics": metricDone, "log": done})

	add("events", map[string]figures{"usher events": e.eventsOf(), "log": e.log.events})
	ups := series(e.text, "usher_backend_transitions_total", "to")
	add("transitions", map[string]figures{"metrics": ups, "log": {"down": e.log.events["backend_down"], "up": e.log.events["backend_up"]}})

	refused, guarded := series(e.text, "usher_refused_logins_total", "reason"), figures{}
	for _, p := range e.log.sessions {
		if p["failure"] == "guarded" {
			guarded.add(1, p["err"])
		}
	}
	for _, r := range e.log.refusals {
		if r.kind == "limit" {
			guarded.add(1, "user_sessions")
		}
	}
	add("refused by usher", map[string]figures{"metrics": refused, "log": guarded})
	rows = append(rows, e.roads(byLog)...)

	held, repeated := figures{}, figures{}
	for _, r := range e.log.refusals {
		if r.kind == "" && strings.HasPrefix(r.rip, "10.200.") && !e.besieged[r.rip] {
			held.add(1)
		}
	}
	if len(e.besieged) == 0 { // there the log does not say who has waited before he was tried
		add("delayed", map[string]figures{"metrics": series(e.text, "usher_delayed_logins_total"), "log": held})
	}
	repeated.add(e.again)
	add("repeated", map[string]figures{"metrics": series(e.text, "usher_repeated_failures_total"), "clients": repeated})
	add("reloads", map[string]figures{"metrics": series(e.text, "usher_config_reloads_total", "result"), "orders": {"ok": 2}})
	add("ended by order", map[string]figures{"log": {"": toldKicked["kicked"]}, "clients": {"": kicked}})
	e.t.Logf("placements %v, delayed %v, repeated %v, dials %v, failures %v, checks %v, check failures %v, retries %d",
		series(e.text, "usher_placements_total", "result"), series(e.text, "usher_delayed_logins_total"), series(e.text, "usher_repeated_failures_total"),
		series(e.text, "usher_backend_dials_total", "backend"), series(e.text, "usher_backend_failures_total", "backend"),
		series(e.text, "usher_backend_checks_total", "backend"), series(e.text, "usher_backend_check_failures_total", "backend"), e.log.retries)
	return rows
}

func number(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}
