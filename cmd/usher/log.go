package main

import (
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/cmd/internal/config"
)

// A logger writes what happens, as text or JSON. Failed logins have a form of
// their own in text, which fail2ban knows.
type logger struct {
	*slog.Logger
	level  slog.LevelVar // SIGHUP changes it
	events *admin.Events

	mu     sync.Mutex // one line at a time
	out    io.Writer
	json   bool
	prefix string // before a failed login
	stamp  bool   // lines of ours need a time; journald has its own
}

func newLogger(out io.Writer, c config.Log) *logger {
	l := &logger{events: admin.NewEvents(), out: out, json: c.Format == config.LogJSON, stamp: !intoJournal(out)}
	if c.DovecotPrefix {
		l.prefix = "dovecot: "
	}
	l.setLevel(c.Level)
	o := &slog.HandlerOptions{Level: &l.level}
	if l.json {
		o.ReplaceAttr = inSeconds
		l.Logger = slog.New(l.events.Handler(slog.NewJSONHandler(l, o)))
	} else {
		l.Logger = slog.New(l.events.Handler(slog.NewTextHandler(l, o)))
	}
	return l
}

// intoJournal tells whether journald reads what is written. JOURNAL_STREAM alone
// does not say so: a child of a service inherits it, and the unit may send
// standard error elsewhere; it names the file to compare with (systemd.exec(5)).
func intoJournal(out io.Writer) bool {
	if out != io.Writer(os.Stderr) {
		return false
	}
	yes, err := journal.StderrIsJournalStream()
	return err == nil && yes
}

// inSeconds makes JSON's durations numbers with their unit in the name. slog
// would write nanoseconds and not say so.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindDuration {
		return a
	}
	return slog.Float64(a.Key+"_seconds", a.Value.Duration().Seconds())
}

var levels = map[config.LogLevel]slog.Level{
	config.LogDebug: slog.LevelDebug, config.LogInfo: slog.LevelInfo,
	config.LogWarn: slog.LevelWarn, config.LogError: slog.LevelError,
}

func (l *logger) setLevel(level config.LogLevel) { l.level.Set(levels[level]) }

// Write writes one line; slog's handlers call it once for each.
func (l *logger) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(line)
}

// loginFailed writes the line of a refused login. In JSON what a session's line
// has too is named and typed as there; its "tls" is a version, which is not known
// here.
func (l *logger) loginFailed(f balancer.FailedLogin) {
	if l.level.Level() > slog.LevelInfo {
		return
	}
	if l.json {
		l.Info("login failed", "session", f.Session, "proto", f.Protocol, "user", f.User, "mech", string(f.Mechanism),
			"client", f.Client.String(), "local", f.Local.String(),
			"secure", f.TLS, "failure", f.Kind.String(), "attempts", f.Attempts)
		return
	}
	var line []byte
	if l.stamp {
		line = f.Time.AppendFormat(line, "2006-01-02T15:04:05.000Z07:00")
		line = append(line, ' ')
	}
	line = append(line, l.prefix...)
	line = append(f.AppendDovecot(line), '\n')
	_, _ = l.Write(line) // there is nobody to tell that the log is broken
}
