package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is kept of events. Most have some 300 octets, so a full ring takes
// less than a megabyte.
const (
	// maxEvents is how many a node keeps: those of some weeks, as only what an
	// operator cares about is one.
	maxEvents = 2048
	// maxEventAttrs bounds the attributes of one; no line of ours has as many.
	maxEventAttrs = 24
	// maxEventText bounds a text in one, in octets: a name, an error. A longer one
	// is cut: what is in it may be a stranger's.
	maxEventText = 400
	// maxEventName bounds a code, and the name of an attribute, in octets.
	maxEventName = 48
)

// eventKey is the attribute that makes a line of the log an event. Its value is the
// event's code.
const eventKey = "event"

// An Event is a line of the log that has a code: something that an operator may want
// to know of. docs/events.md lists all codes.
type Event struct {
	// Number counts the events of a node since it was started, from 1. Run tells one
	// start of the node from another.
	Number uint64    `json:"number"`
	Run    string    `json:"run"`
	Time   time.Time `json:"time"` // by the clock of the node
	Node   string    `json:"node"`
	Level  string    `json:"level"` // info, warn or error
	Code   string    `json:"event"`
	// Message and Attrs are the line's. A value is a string, a number or a bool;
	// one that takes time is in seconds, and its name ends in _seconds.
	Message string         `json:"message"`
	Attrs   map[string]any `json:"attrs,omitempty"`
}

// impersonal are the attributes that name neither a user nor where he comes from. All
// others are left out of what is shown to those who may not see users: an attribute that
// is new is not shown to them before it is here. Not here on purpose are err, which may
// quote anybody, address, which is a client's where penalties are cleared, subject, which
// is whom a penalty is of, and by: an administrator may have the name of a user.
var impersonal = []string{
	"again", "all", "backend", "backends", "ca", "cert_file", "certificate", "changes", "config", "count", "do", "drain", "drained",
	"drop", "epoch", "expires", "failure", "file", "force", "from", "host", "in_file", "issuer", "key", "keys", "kind", "left",
	"left_to_administrators", "level", "limit", "listener", "listeners", "more_since_last", "name", "names", "not_after", "path",
	"pause", "peer", "peers", "penalties", "pins", "pool", "problem", "proto", "reason", "reasons", "serial", "served", "sessions",
	"socket", "state", "storage", "suites", "term", "there", "to", "undo", "until", "up", "used", "version", "versions", "voters",
	"weight",
}

// WithoutUsers is the event as those see it who may not see users.
func (e Event) WithoutUsers() Event {
	var kept map[string]any
	for name, v := range e.Attrs {
		if slices.Contains(impersonal, strings.TrimSuffix(name, "_seconds")) {
			if kept == nil {
				kept = make(map[string]any)
			}
			kept[name] = v
		}
	}
	e.Attrs = kept
	return e
}

// User is whom the event is about, as he was named in the log; empty if nobody.
func (e Event) User() string {
	user, _ := e.Attrs["user"].(string)
	return user
}

// Events are the last events of this node. When there are too many, the oldest of the
// most frequent code goes: a flood of one kind pushes out nothing else. Make it with
// NewEvents. Its methods are safe for concurrent use, and none waits for anything.
type Events struct {
	run string

	mu      sync.Mutex // guards what follows
	last    uint64
	kept    int
	byCode  map[string][]Event // each in order
	changed chan struct{}      // closed with the next
}

// NewEvents returns Events without any.
func NewEvents() *Events {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return newMirror(hex.EncodeToString(b[:]))
}

// newMirror is for events of a run of a node.
func newMirror(run string) *Events {
	return &Events{run: run, byCode: make(map[string][]Event), changed: make(chan struct{})}
}

// Handler returns a handler that takes the events out of what goes to next.
func (e *Events) Handler(next slog.Handler) slog.Handler { return eventHandler{e, next} }

type eventHandler struct {
	events *Events
	next   slog.Handler
}

// Enabled implements slog.Handler: events are kept whatever the level of the log is.
func (h eventHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.next.Enabled(ctx, level)
}

// Logs tells whether a line goes further that is no event.
func (h eventHandler) Logs(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h eventHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key != eventKey {
				return true
			}
			h.events.take(r, a.Value.String())
			return false
		})
	}
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler. What all lines of a logger have is no event's own.
func (h eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return eventHandler{h.events, h.next.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h eventHandler) WithGroup(name string) slog.Handler {
	return eventHandler{h.events, h.next.WithGroup(name)}
}

// take makes an event of a line.
func (e *Events) take(r slog.Record, code string) {
	ev := Event{Time: r.Time.Round(0).UTC(), Level: levelName(r.Level), Code: code, Message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == eventKey || a.Key == "" {
			return true
		}
		v := a.Value.Resolve()
		name, value := a.Key, any(nil)
		switch v.Kind() {
		case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64:
			value = v.Any()
		case slog.KindDuration:
			name, value = name+"_seconds", v.Duration().Seconds()
		case slog.KindTime:
			value = v.Time().UTC().Format(time.RFC3339)
		case slog.KindAny:
			if v.Any() == nil {
				return true
			}
			value = fmt.Sprint(v.Any())
		default:
			value = v.String()
		}
		if value == "" {
			return true
		}
		if ev.Attrs == nil {
			ev.Attrs = make(map[string]any)
		}
		ev.Attrs[name] = value
		return len(ev.Attrs) < maxEventAttrs
	})
	ev.clean()
	if ev.Code == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.Number, ev.Run = e.last+1, e.run
	e.add(ev)
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	}
	return "info"
}

// clean bounds an event and takes out of it what could do something to who reads it.
// A code that is none is emptied.
func (e *Event) clean() {
	e.Code = shortName(e.Code)
	e.Message, e.Node = harmless(e.Message), harmless(e.Node)
	if e.Level != "warn" && e.Level != "error" {
		e.Level = "info"
	}
	attrs := make(map[string]any, len(e.Attrs))
	for name, v := range e.Attrs {
		if name = shortName(name); name == "" || len(attrs) == maxEventAttrs {
			continue
		}
		switch v := v.(type) {
		case bool, int64, uint64, float64:
			attrs[name] = v
		default:
			attrs[name] = harmless(fmt.Sprint(v))
		}
	}
	e.Attrs = nil
	if len(attrs) > 0 {
		e.Attrs = attrs
	}
}

// shortName is s if it is snake_case and not too long, else nothing.
func shortName(s string) string {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return ""
		}
	}
	if len(s) > maxEventName {
		return ""
	}
	return s
}

// harmless is a text of unknown origin as one line that is not too long, without
// controls and without marks that turn or hide what is around them.
func harmless(s string) string {
	cut := s[:min(len(s), maxEventText+utf8.UTFMax)]
	cut = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(cut, "?"))
	if len(s) <= maxEventText && len(cut) <= maxEventText {
		return cut
	}
	n := min(len(cut), maxEventText-len("…"))
	for !utf8.RuneStart(cut[n]) {
		n--
	}
	return cut[:n] + "…"
}

// add takes an event up. It is called with mu held.
func (e *Events) add(ev Event) {
	e.last = ev.Number
	e.byCode[ev.Code] = append(e.byCode[ev.Code], ev)
	if e.kept++; e.kept > maxEvents {
		most := ev.Code
		for code, list := range e.byCode {
			if len(list) > len(e.byCode[most]) {
				most = code
			}
		}
		if e.byCode[most] = e.byCode[most][1:]; len(e.byCode[most]) == 0 {
			delete(e.byCode, most)
		}
		e.kept--
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// A mark is how far somebody has read the events of a node.
type mark struct {
	Run    string `json:"run"`
	Number uint64 `json:"number"`
}

// after lists what came after a mark, the oldest first, and counts those that are no
// more there. A mark of another run is before all.
func (e *Events) after(m mark) (list []Event, now mark, lost uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.Run != e.run {
		m.Number = 0
	}
	for _, of := range e.byCode {
		list = append(list, of[sort.Search(len(of), func(i int) bool { return of[i].Number > m.Number }):]...)
	}
	slices.SortFunc(list, func(a, b Event) int { return compareNumbers(a.Number, b.Number) })
	if m.Number > 0 && e.last > m.Number {
		lost = e.last - m.Number - uint64(len(list))
	}
	return list, mark{e.run, e.last}, lost
}

// next is closed with the next event.
func (e *Events) next() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

func compareNumbers(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
