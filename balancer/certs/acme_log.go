package certs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// sayAgain is how often the same trouble is told: who reads the log daily finds
	// it, who reads it now is not flooded by tries.
	sayAgain = time.Hour

	// maxSaid bounds what is remembered to have been said.
	maxSaid = 4096
)

// once tells things again only after a while. The zero value is ready.
type once struct {
	mu   sync.Mutex
	said map[string]time.Time
}

// first says whether key was not told within sayAgain.
func (o *once) first(key string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last, ok := o.said[key]; ok && now.Sub(last) < sayAgain {
		return false
	}
	if o.said == nil || len(o.said) >= maxSaid {
		o.said = make(map[string]time.Time)
	}
	o.said[key] = now
	return true
}

// ours are messages of certmagic that we tell in our own words.
var ours = map[string]bool{
	"could not get certificate from issuer": true,
	"job failed":                            true,
	"will retry":                            true,
	"final attempt; giving up":              true,
}

// bridge is a zap logger whose lines go to ours. What certmagic says of its work is
// chatter, at level debug; its errors, which are not about orders, are warnings.
func bridge(log *slog.Logger) *zap.Logger {
	return zap.New(&core{log: log, said: new(once)})
}

// A core carries zap's entries to slog.
type core struct {
	log  *slog.Logger
	said *once
	with []slog.Attr
}

func (c *core) Enabled(l zapcore.Level) bool {
	return l >= zapcore.ErrorLevel || c.log.Enabled(context.Background(), slog.LevelDebug)
}

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{c.log, c.said, append(c.with[:len(c.with):len(c.with)], attrs(fields)...)}
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelDebug
	switch {
	case e.Level > zapcore.ErrorLevel || e.Message == "panic":
		level = slog.LevelError
	case e.Level == zapcore.ErrorLevel && !ours[e.Message] && c.said.first(e.LoggerName+" "+e.Message, e.Time):
		level = slog.LevelWarn
	}
	list := append([]slog.Attr{slog.String("part", e.LoggerName), slog.String("says", e.Message)}, c.with...)
	c.log.LogAttrs(context.Background(), level, "certmagic", append(list, attrs(fields)...)...)
	return nil
}

func (c *core) Sync() error { return nil }

// secret are fields that no log gets, whatever their names promise.
var secret = map[string]bool{"private_key": true, "privateKey": true, "key_pem": true, "csr_pem": true, "storage": true}

// attrs are zap's fields as slog has them.
func attrs(fields []zapcore.Field) []slog.Attr {
	list := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		if secret[f.Key] {
			continue
		}
		e := zapcore.NewMapObjectEncoder()
		f.AddTo(e)
		for key, value := range e.Fields {
			list = append(list, slog.Any(key, value))
		}
	}
	return list
}

// chatter is a handler that has everything at level debug: what acmez says of its
// requests. Errors among it come back to us anyway.
type chatter struct{ slog.Handler }

func (h chatter) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h chatter) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h chatter) WithAttrs(a []slog.Attr) slog.Handler { return chatter{h.Handler.WithAttrs(a)} }
func (h chatter) WithGroup(n string) slog.Handler      { return chatter{h.Handler.WithGroup(n)} }
