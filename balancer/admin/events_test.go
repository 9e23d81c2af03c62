package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// others are nodes in the place of a fleet's.
type others struct {
	mu    sync.Mutex
	nodes map[string]*Events
	dead  map[string]bool
	asked int
}

func (o *others) Name() string { return "edge-1" }

func (o *others) Events(only []string, q json.RawMessage, got func(string, json.RawMessage)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	var errs []error
	for node, e := range o.nodes {
		if only != nil && !slices.Contains(only, node) {
			continue
		}
		if o.dead[node] {
			errs = append(errs, fmt.Errorf("node %s: dead", node))
			continue
		}
		answer, err := e.Answer(node)(q)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got(node, answer)
	}
	return errors.Join(errs...)
}

func (o *others) set(node string, e *Events, dead bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nodes[node], o.dead[node] = e, dead
}

// A board is a Server with nothing but events, behind a socket.
type board struct {
	*Server
	own    *Events
	log    *slog.Logger
	others *others
	client http.Client
	stop   func() // ends it, and waits
}

func newBoard(t *testing.T) *board {
	t.Helper()
	b := &board{own: NewEvents(), others: &others{nodes: map[string]*Events{"edge-2": NewEvents()}, dead: map[string]bool{}}}
	b.log = slog.New(b.own.Handler(slog.DiscardHandler))
	b.Server = &Server{gathering: newGathering(b.own, b.others)}
	routes := &router{mux: http.NewServeMux()}
	b.eventRoutes(routes)
	mux := onSocket(routes.mux)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = Serve(ctx, l, mux, slog.New(slog.DiscardHandler)) })
	b.stop = func() { cancel(); running.Wait() }
	t.Cleanup(b.stop)
	b.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

// ask is a question of who has opened the unix socket.
func ask(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
	return r.WithContext(withCaller(r.Context(), Caller{Name: "test", Role: RoleSocket, Via: viaSocket}))
}

func (b *board) list(t *testing.T, query, last string) EventList {
	t.Helper()
	r := ask(EventsPath + query)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	w := httptest.NewRecorder()
	b.gathering.asked = time.Time{}
	b.events(w, r)
	var l EventList
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return l
}

func codes(l []Event) string {
	var s []string
	for _, e := range l {
		s = append(s, e.Node+" "+e.Code)
	}
	return strings.Join(s, ", ")
}

func TestEventsOfAllNodes(t *testing.T) {
	b := newBoard(t)
	two := slog.New(b.others.nodes["edge-2"].Handler(slog.DiscardHandler))
	b.log.Info("first", "event", "backend_up", "backend", "mail1")
	two.Warn("second", "event", "user_moved", "user", "joe", "backend", "mail2", "took", 1500*time.Millisecond, "err", nil)
	b.log.Info("no event")
	b.log.Debug("nor this", "event", "backend_up")
	b.log.Error("third", "event", "node_stuck", "err", errors.New("bad\x1b[2J\n"))
	l := b.list(t, "", "")
	if got := codes(l.Events); got != "edge-1 backend_up, edge-2 user_moved, edge-1 node_stuck" {
		t.Errorf("got %s", got)
	}
	if got := l.Events[1].Attrs; !reflect.DeepEqual(got, map[string]any{"user": "joe", "backend": "mail2", "took_seconds": 1.5}) {
		t.Errorf("got %v", got)
	}
	if e := l.Events[2]; e.Level != "error" || e.Attrs["err"] != "bad?[2J?" {
		t.Errorf("got %+v", e)
	}
	if l := b.list(t, "?users=no", ""); l.Events[1].User() != "" || l.Events[1].Attrs["backend"] != "mail2" || l.Events[2].Attrs["err"] != nil {
		t.Errorf("without users: %+v", l.Events)
	}
	if got := codes(b.list(t, "?level=warn&code=user_moved,backend_up", "").Events); got != "edge-2 user_moved" {
		t.Errorf("by code: %s", got)
	}
	if got := codes(b.list(t, "?limit=1", "").Events); got != "edge-1 node_stuck" {
		t.Errorf("the last: %s", got)
	}
	if got := codes(b.list(t, "?since=2000-01-01T00:00:00Z", "").Events); strings.Count(got, ",") != 2 {
		t.Errorf("since long ago: %s", got)
	}
	if got := codes(b.list(t, "?since=0s", "").Events); got != "" {
		t.Errorf("since now: %s", got)
	}
	// From a position on, which outlives the start of a node anew.
	two.Info("fourth", "event", "node_ready")
	if got := codes(b.list(t, "", l.Position).Events); got != "edge-2 node_ready" {
		t.Errorf("from a position: %s", got)
	}
	again := NewEvents()
	slog.New(again.Handler(slog.DiscardHandler)).Info("is there again", "event", "usher_started")
	b.others.set("edge-2", again, false)
	if got := codes(b.list(t, "", l.Position).Events); got != "edge-2 usher_started" {
		t.Errorf("of a node that was started anew: %s", got)
	}
	b.others.set("edge-2", again, true)
	if l := b.list(t, "", ""); len(l.Missing) != 1 || codes(l.Events) == "" {
		t.Errorf("one is dead: %+v", l)
	}
}

func TestEventQuestionsRefused(t *testing.T) {
	b := newBoard(t)
	for _, q := range []string{"since=x", "since=-1h", "limit=0", "limit=x", "limit=99999", "level=loud", "users=maybe", "code=" + strings.Repeat("a", 500), "x=1"} {
		w := httptest.NewRecorder()
		b.events(w, ask(EventsPath+"?"+q))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", q, w.Code, w.Body)
		}
	}
	r := ask(EventsPath)
	r.Header.Set("Last-Event-ID", "nonsense")
	w := httptest.NewRecorder()
	if b.events(w, r); w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A flood of one code pushes out nothing else, and takes no more than its room.
func TestEventFlood(t *testing.T) {
	e := NewEvents()
	log := slog.New(e.Handler(slog.DiscardHandler))
	log.Info("rare", "event", "leader_elected")
	_, from, _ := e.after(mark{})
	for i := range 3 * maxEvents {
		log.Warn("flood", "event", "limit_reached", "client", strings.Repeat("x", 10*maxEventText), "i", i)
	}
	list, _, lost := e.after(mark{})
	if len(list) != maxEvents || list[0].Code != "leader_elected" || lost != 0 {
		t.Errorf("%d events, the first %s, %d lost", len(list), list[0].Code, lost)
	}
	if _, _, lost := e.after(from); lost != 2*maxEvents+1 {
		t.Errorf("%d are said to be lost, want %d", lost, 2*maxEvents+1)
	}
	if n := len(list[1].Attrs["client"].(string)); n > maxEventText {
		t.Errorf("a text of %d octets", n)
	}
	// Another node gets all of them, over several answers.
	g := newGathering(NewEvents(), &others{nodes: map[string]*Events{"edge-2": e}, dead: map[string]bool{}})
	g.round(0)
	if list, _, _ := g.after(make(position)); len(list) != maxEvents {
		t.Errorf("another node has %d", len(list))
	}
}

// follow opens a stream.
func (b *board) follow(t *testing.T, query, last string) (*bufio.Reader, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x"+EventsPath+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	return bufio.NewReader(resp.Body), func() { cancel(); resp.Body.Close() }
}

// until reads a stream up to a line with the text, and returns the id before it.
func until(t *testing.T, in *bufio.Reader, text string) (id string) {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("before %q: %v", text, err)
		}
		if v, ok := strings.CutPrefix(line, "id: "); ok {
			id = strings.TrimSpace(v)
		}
		if strings.Contains(line, text) {
			return id
		}
	}
}

func TestEventsFollowed(t *testing.T) {
	b := newBoard(t)
	b.log.Info("before", "event", "backend_up")
	in, end := b.follow(t, "", "")
	until(t, in, "id: ")
	b.log.Info("mine", "event", "backend_down")
	line, err := in.ReadString('\n')
	for ; err == nil && !strings.HasPrefix(line, "data: "); line, err = in.ReadString('\n') {
	}
	if err != nil || !strings.Contains(line, "backend_down") {
		t.Fatalf("got %q, %v: what was before it began is none of it", line, err)
	}
	two := slog.New(b.others.nodes["edge-2"].Handler(slog.DiscardHandler))
	two.Info("theirs", "event", "leader_elected")
	id := until(t, in, "leader_elected")
	b.others.set("edge-2", b.others.nodes["edge-2"], true)
	until(t, in, "event: missing")
	until(t, in, `["edge-2"]`)
	b.log.Info("meanwhile", "event", "node_absent")
	until(t, in, "node_absent")
	end()
	two.Info("missed", "event", "node_isolated")
	b.others.set("edge-2", b.others.nodes["edge-2"], false)
	in, end = b.follow(t, "", id) // with what came meanwhile, of both
	defer end()
	until(t, in, "node_absent")
	until(t, in, "node_isolated")
}

// Nobody asks other nodes for who does not follow.
func TestNobodyFollows(t *testing.T) {
	b := newBoard(t)
	b.log.Info("x", "event", "backend_up")
	if b.others.asked != 0 {
		t.Errorf("the others were asked %d times", b.others.asked)
	}
}

// Who does not read is not waited for: everybody else goes on, and he is dropped. The
// number of followers has a bound.
func TestSlowFollower(t *testing.T) {
	b := newBoard(t)
	_, endSlow := b.follow(t, "", "")
	defer endSlow()
	in, end := b.follow(t, "", "")
	defer end()
	until(t, in, "id: ")
	began := time.Now()
	for range 2 * maxEvents {
		b.log.Info("flood", "event", "backend_up", "text", strings.Repeat("x", maxEventText))
	}
	if took := time.Since(began); took > followTime/2 {
		t.Errorf("whoever logs waited: %v", took)
	}
	b.log.Info("last", "event", "leader_elected")
	until(t, in, "leader_elected")
	for range maxFollowers - 2 {
		_, end := b.follow(t, "", "")
		defer end()
	}
	w := httptest.NewRecorder()
	r := ask(EventsPath)
	r.Header.Set("Accept", "text/event-stream")
	if b.events(w, r); w.Code != http.StatusServiceUnavailable {
		t.Errorf("one more than %d may follow: %d", maxFollowers, w.Code)
	}
}

// A stalled takes nothing: every write runs into its deadline.
type stalled struct{ http.ResponseWriter }

func (stalled) Write([]byte) (int, error)        { return 0, errors.New("i/o timeout") }
func (stalled) SetWriteDeadline(time.Time) error { return nil }
func (stalled) SetReadDeadline(time.Time) error  { return nil }
func (stalled) FlushError() error                { return nil }

// A follower who does not take what is written within the time is dropped.
func TestStalledFollower(t *testing.T) {
	b := newBoard(t)
	b.log.Info("x", "event", "backend_up")
	r := ask(EventsPath + "?since=1h")
	r.Header.Set("Accept", "text/event-stream")
	b.events(stalled{httptest.NewRecorder()}, r) // returns
	if n := len(b.followers.taken); n != 0 {
		t.Errorf("%d follow", n)
	}
}

func FuzzPosition(f *testing.F) {
	for _, s := range []string{"", "edge-1:0a1b:12", "a%2Cb:x:1,c:y:18446744073709551615", "::", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePosition(s)
		if err != nil {
			return
		}
		again, err := parsePosition(p.String())
		if err != nil && len(p.String()) <= maxPosition || err == nil && !reflect.DeepEqual(again, p) {
			t.Errorf("%q: %v, %v, %v", s, p, again, err)
		}
	})
}

// What a node says of its events is bounded and harmless, whatever it says.
func FuzzEventAnswer(f *testing.F) {
	f.Add([]byte(`{"run":"a1","events":[{"number":1,"event":"x","node":"other","message":"m","attrs":{"a":1,"b":"c","d":[1]}}]}`))
	f.Add([]byte(`{"run":"a1","events":[{"number":18446744073709551615,"event":"x"}],"more":true}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		g := newGathering(NewEvents(), &others{})
		g.got("edge-2", answer)
		list, _, _ := g.after(make(position))
		for _, e := range list {
			b, err := json.Marshal(e)
			if err != nil || e.Node != "edge-2" || e.Code == "" || len(e.Attrs) > maxEventAttrs || len(e.Message) > maxEventText || bytes.ContainsAny(b, "\n\r") {
				t.Errorf("%+v, %v", e, err)
			}
		}
	})
}

// A handler of events wants to see lines of a level that the log leaves out, and says
// that it does nothing with those that are no event.
func TestWhatIsOnlyForEvents(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := NewEvents()
	h := e.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	told, ok := h.(interface {
		Logs(ctx context.Context, level slog.Level) bool
	})
	if !ok {
		t.Fatal("the handler does not say what it logs")
	}
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		out.Reset()
		slog.New(h).Log(t.Context(), level, "a line")
		if logged := out.Len() > 0; told.Logs(t.Context(), level) != logged {
			t.Errorf("a line of level %v is logged: %v; the handler says the opposite", level, logged)
		}
	}
	if !h.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("events of level info are not taken")
	}
}
