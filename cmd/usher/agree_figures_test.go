package main_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// figures are counts by what was counted. What is 0 is left out.
type figures map[string]int

func (f figures) add(n int, parts ...string) {
	key := strings.Join(parts, " ")
	if f[key] += n; f[key] == 0 {
		delete(f, key)
	}
}

func (f figures) sum() (n int) {
	for _, v := range f {
		n += v
	}
	return n
}

// without leaves some out.
func (f figures) without(keys ...string) figures {
	f = maps.Clone(f)
	for _, k := range keys {
		delete(f, k)
	}
	return f
}

// A row holds what several witnesses say of the same thing.
type row struct {
	name string
	said map[string]figures // by witness
}

// differences names what witnesses of a row do not agree in, each with the first.
func (r row) differences() (lines []string) {
	names := slices.Sorted(maps.Keys(r.said))
	first := r.said[names[0]]
	for _, name := range names[1:] {
		keys := map[string]bool{}
		for _, f := range []figures{first, r.said[name]} {
			for k := range f {
				keys[k] = true
			}
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if a, b := first[k], r.said[name][k]; a != b {
				lines = append(lines, fmt.Sprintf("%s{%s}: %d by %s, %d by %s", r.name, k, a, names[0], b, name))
			}
		}
	}
	return lines
}

// series reads a family of /metrics, by the values of some of its labels.
func series(text, family string, labels ...string) figures {
	f := figures{}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), family)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		at := strings.LastIndexByte(rest, ' ')
		value, err := strconv.ParseFloat(rest[at+1:], 64)
		if err != nil {
			continue
		}
		inside := "," + strings.Trim(rest[:at], "{}")
		var key []string
		for _, label := range labels {
			_, v, _ := strings.Cut(inside, ","+label+"=\"")
			v, _, _ = strings.Cut(v, "\"")
			key = append(key, v)
		}
		f.add(int(value), key...)
	}
	return f
}

// pairs reads a line of slog's text.
func pairs(line string) map[string]string {
	m := map[string]string{}
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		key, rest, ok := strings.Cut(line, "=")
		if !ok {
			break
		}
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			m[key], _ = strconv.Unquote(quoted)
			line = rest[len(quoted):]
			continue
		}
		m[key], line, _ = strings.Cut(rest, " ")
	}
	return m
}

// A diary is what usher has logged.
type diary struct {
	sessions []map[string]string
	refusals []refusal
	events   figures
	retries  int // of connections to back ends
}

// A refusal is a line about a failed login, in Dovecot's form.
type refusal struct{ proto, method, rip, kind string }

var refusalForm = regexp.MustCompile(`(imap|pop3)-login: Disconnected: Connection closed \((auth failed, \d+ attempts in \d+ secs|login not possible: (\w+))\): user=<[^>]*>, method=([^,]*), rip=([^,]*), lip=[^,]*,(?: TLS,)? session=<\w+>$`)

func readDiary(t *testing.T, log string) *diary {
	t.Helper()
	d := &diary{events: figures{}}
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "-login: ") && !strings.Contains(line, " level=") {
			m := refusalForm.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("odd line: %s", line)
				continue
			}
			d.refusals = append(d.refusals, refusal{m[1], m[4], m[5], m[3]})
			continue
		}
		p := pairs(line)
		switch {
		case p["msg"] == "session":
			p["addr"], _, _ = strings.Cut(p["client"], ":")
			d.sessions = append(d.sessions, p)
		case p["msg"] == "back end is tried again":
			d.retries++
		}
		if p["event"] != "" && p["level"] != "DEBUG" { // as what is known at a start is no news
			d.events.add(1, p["event"])
		}
	}
	return d
}

// A stay is a session as a Dovecot has logged it.
type stay struct {
	proto, method, rip string
	in, out            int
	over               bool // it has logged the end
	logout             bool // by the client's LOGOUT or QUIT
}

// A ledger is what a Dovecot has logged.
type ledger struct {
	stays  map[string]*stay // by Dovecot's own id of the session
	failed []refusal
}

var (
	stayBegins = regexp.MustCompile(`(imap|pop3)-login: Info: Login: user=<[^>]*>, method=([^,]*), rip=([^,]*),.* session=<([^>]*)>`)
	stayEnds   = regexp.MustCompile(`(?:imap|pop3)\([^)]*\)<\d+><([^>]*)>: Info: .*\bin=(\d+)[ ,]+out=(\d+)`)
	stayFails  = regexp.MustCompile(`(imap|pop3)-login: Info: .*\(auth failed, (\d+) attempts.*method=([^,]*), rip=([^,]*),`)
)

// bothCounts has POP3's last line say what IMAP's says.
const bothCounts = "protocol pop3 {\n pop3_logout_format = in=%i out=%o\n}\n"

func readLedger(t *testing.T, srv *dovecot.Server) ledger {
	t.Helper()
	l := ledger{stays: map[string]*stay{}}
	log := srv.Log()
	for line := range strings.Lines(log) {
		if m := stayBegins.FindStringSubmatch(line); m != nil {
			l.stays[m[4]] = &stay{proto: m[1], method: m[2], rip: m[3]}
		} else if m := stayFails.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[2])
			for range n {
				l.failed = append(l.failed, refusal{proto: m[1], method: m[3], rip: m[4]})
			}
		}
	}
	for line := range strings.Lines(log) { // another process writes the end, at times before the beginning
		m := stayEnds.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		s := l.stays[m[1]]
		if s == nil {
			t.Errorf("an end without a beginning: %s", line)
			continue
		}
		s.in, _ = strconv.Atoi(m[2])
		s.out, _ = strconv.Atoi(m[3])
		s.over, s.logout = true, strings.Contains(line, "Logged out")
	}
	return l
}

// octets are what of a stay passed through usher. A Dovecot counts its own yes to the
// login, which usher reads and says again in other words; and its IMAP does not read
// the end of the line that says LOGOUT.
func (s *stay) octets(yes int) (in, out int) {
	in, out = s.in, s.out-yes
	if s.logout && s.proto == "imap" {
		in += len("\r\n")
	}
	return in, out
}
