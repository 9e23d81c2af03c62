package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"
)

const (
	// maxFollowers bounds the streams of a node at a time, of each way in and role: each has a goroutine or two
	// and reads the same memory.
	maxFollowers = 32
	// heartbeat is the time after which a silent stream says that it is there, and who
	// has gone is noticed.
	heartbeat = 15 * time.Second
	// followTime is what a follower gets to take what is written. Who is slower is
	// dropped, and may come back with Last-Event-ID.
	followTime = 10 * time.Second
	// followBatch is how many events are written at a time.
	followBatch = 256
)

// Kinds of what a stream says besides events, as its field "event".
const (
	// EventMissing comes when nodes do not answer, or do again: a list of them.
	EventMissing = "missing"
	// EventLost comes when there were more events than are kept: their number.
	EventLost = "lost"
)

// follow writes events as they come (WHATWG HTML, server-sent events), until who reads
// has gone or is too slow. Without since and Last-Event-ID it begins now.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, o wish) {
	leave, ok := s.followers.enter(callerOf(r.Context()), maxFollowers)
	if !ok {
		refuse(w, http.StatusServiceUnavailable, "too many follow already", "end one of them, or ask for the list")
		return
	}
	defer leave()
	rc := http.NewResponseController(w)
	// The server's own limits are for questions that are answered once.
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(followTime))); err != nil {
		refuse(w, http.StatusNotImplemented, "nothing can be followed over this connection", "ask for the list")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if rc.Flush() != nil {
		return
	}
	// Whoever reads it may not be allowed to any more. He asks again at once, with
	// Last-Event-ID.
	ctx, cancel := context.WithTimeout(r.Context(), viewTime)
	asked := make(chan struct{})
	go func() { defer close(asked); s.gathering.keepAsking(ctx) }()
	defer func() { cancel(); <-asked }() // a question takes some seconds at most

	f := follower{wish: o, w: w, rc: rc, gathering: s.gathering}
	if f.from == nil {
		f.from = make(position)
		if f.since.IsZero() {
			f.since = time.Now()
		}
		f.from.begin(f.since)
	}
	f.from.begin(time.Now()) // of a position that does not say it
	f.run(ctx)
}

// keepAsking asks the other nodes again and again.
func (g *gathering) keepAsking(ctx context.Context) {
	tick := time.NewTicker(eventsEvery)
	defer tick.Stop()
	for {
		g.round(eventsEvery / 2)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A follower is one stream.
type follower struct {
	wish
	w         http.ResponseWriter
	rc        *http.ResponseController
	gathering *gathering
	missing   []string // as was said
	placed    int      // how many nodes the position had that was said
}

func (f *follower) run(ctx context.Context) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		own, others := f.gathering.next() // before the look: what comes after it is not missed
		if f.look() != nil {
			return
		}
		select {
		case <-own:
		case <-others:
		case <-beat.C:
			if f.write([]byte("id: "+f.from.String()+"\n: is there\n\n")) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// look writes what is new.
func (f *follower) look() error {
	was := maps.Clone(f.from)
	list, lost, missing := f.gathering.after(f.from)
	var b bytes.Buffer
	if lost > 0 {
		say(&b, EventLost, "", lost)
	}
	if !slices.Equal(missing, f.missing) {
		say(&b, EventMissing, "", append([]string{}, missing...))
		f.missing = missing
	}
	for batch := range slices.Chunk(list, followBatch) {
		for _, ev := range batch {
			was[ev.Node] = mark{ev.Run, ev.Number}
			for _, ev := range f.pick([]Event{ev}) {
				say(&b, "", was.String(), ev)
			}
		}
		if err := f.write(b.Bytes()); err != nil {
			return err
		}
		b.Reset()
	}
	if len(f.from) > f.placed { // who comes again before the first event goes on from here
		f.placed = len(f.from)
		b.WriteString("id: " + f.from.String() + "\n\n")
	}
	return f.write(b.Bytes())
}

// say appends one thing. JSON has no line feeds in it.
func say(b *bytes.Buffer, kind, id string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		return // a number that is none
	}
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	if kind != "" {
		b.WriteString("event: " + kind + "\n")
	}
	b.WriteString("data: ")
	b.Write(text)
	b.WriteString("\n\n")
}

func (f *follower) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := f.rc.SetWriteDeadline(time.Now().Add(followTime)); err != nil {
		return err
	}
	if _, err := f.w.Write(b); err != nil {
		return err
	}
	return f.rc.Flush()
}
