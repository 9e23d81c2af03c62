package main

import (
	"io"
	"log/slog"
	"os"
	"sync"

	"usher.example/balancer"
	"usher.example/cmd/internal/config"
)

// A logger writes what happens, as text or JSON. Failed logins have a form of
// their own in text, which fail2ban knows.
type logger struct {
	*slog.Logger
	level slog.LevelVar // SIGHUP changes it

	mu     sync.Mutex // one line at a time
	out    io.Writer
	json   bool
	prefix string // before a failed login
	stamp  bool   // lines of ours need a time; journald has its own
}

func newLogger(out io.Writer, c config.Log) *logger {
	l := &logger{out: out, json: c.Format == config.LogJSON, stamp: os.Getenv("JOURNAL_STREAM") == ""}
	if c.DovecotPrefix {
		l.prefix = "dovecot: "
	}
	l.setLevel(c.Level)
	o := &slog.HandlerOptions{Level: &l.level}
	if l.json {
		l.Logger = slog.New(slog.NewJSONHandler(l, o))
	} else {
		l.Logger = slog.New(slog.NewTextHandler(l, o))
	}
	return l
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

// loginFailed writes the line of a refused login.
func (l *logger) loginFailed(f balancer.FailedLogin) {
	if l.level.Level() > slog.LevelInfo {
		return
	}
	if l.json {
		l.Info("login failed", "session", f.Session, "proto", f.Protocol, "user", f.User, "mech", string(f.Mechanism),
			"rip", f.Client.Addr().String(), "rport", f.Client.Port(), "lip", f.Local.Addr().String(),
			"tls", f.TLS, "failure", f.Kind.String(), "attempts", f.Attempts)
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
