package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/guard"
)

// one is a fleet's way to its events, of a fleet that has no other nodes.
type one struct{}

func (one) Name() string                                                { return "edge-1" }
func (one) Events(json.RawMessage, func(string, json.RawMessage)) error { return nil }

// TestReadersSeeNoUser: whatever the role read may ask, no answer names a user or where
// he comes from, while he is moved, penalised and explained, and has sessions.
func TestReadersSeeNoUser(t *testing.T) {
	const user, client = "joe-the-user", "203.0.113.77"
	n := newNode(t)
	g := guard.New(guard.Options{}, time.Now())
	events := admin.NewEvents()
	log := slog.New(events.Handler(slog.DiscardHandler))
	s := admin.New(admin.Options{
		Node: n.balancer, Places: n.places, Fleet: n.places, Keeper: dated{}, Events: events, EventPeers: one{}, Guard: g, Log: log, Additions: adding{},
		Placed: n.places.Placed,
	})
	n.connect(t).login(t, user, "good")
	n.connect(t).login(t, user, "wrong")
	if err := g.Learn(time.Now(), []byte(`{"penalties":[{"kind":"user","name":"`+user+`","weight":20},{"kind":"address","name":"`+client+`/32","weight":20}]}`)); err != nil {
		t.Fatal(err)
	}
	happened, _ := g.Tick(time.Now())
	for _, e := range happened { // as the node does each second
		log.Info("logins are slowed because many have failed", "event", "penalty_begun", "kind", e.Kind.String(), "subject", e.Subject, "pause", e.Pause)
	}
	log.Warn("session", "event", "limit_reached", "session", "5f", "client", client+":1024", "user", user, "failure", "limit", "err", errors.New("20 sessions of "+client))
	// He is being moved as long as his session goes on, which nobody closes here.
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.places.Move(impatient, "main", user, "mail1", "test"); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	const js = "application/json"
	for _, order := range []struct{ path, body string }{
		{admin.PinPath, `{"user":"` + user + `","backend":"mail9"}`}, // refused, which is an event as well
		{admin.KickPath, `{"user":"` + user + `x"}`},
		{admin.PenaltyClearPath, `{"address":"198.51.100.7"}`},
		{admin.PenaltyClearPath, `{"user":"` + user + `x"}`},
	} {
		askOf(s.Handler(), http.MethodPost, order.path, js, order.body)
	}
	// Who may see users does, so that there is something to hide.
	for path, want := range map[string][]string{
		admin.UserPath + "?user=" + user:    {`"user":"` + user + `"`, "logins wait"},
		admin.ExplainPath + "?user=" + user: {`"user":"` + user + `"`, `"moving"`, `"penalty"`},
		admin.EventsPath:                    {`"user":"` + user + `"`, `"subject":"` + user + `"`, `"subject":"` + client, "198.51.100.7", "user_pin_failed", "user_kicked"},
		admin.PenaltiesPath:                 {user, client},
		admin.SessionsPath:                  {user},
	} {
		body := askOf(s.As("bob", admin.RoleOperate), http.MethodGet, path, "", "").Body.String()
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s as operate: no %s: there is nothing to hide: %s", path, w, body)
			}
		}
	}
	hidden := []string{user, client, "198.51.100.7", "127.0.0.1:"}
	named := func(body string) bool {
		return slices.ContainsFunc(hidden, func(h string) bool { return strings.Contains(body, h) })
	}
	asked := 0
	for _, r := range s.Routes() {
		if r.Role != admin.RoleRead {
			continue
		}
		if r.Method != http.MethodGet {
			t.Errorf("%s: readers may %s", r.Path, r.Method)
		}
		w := askOf(s.As("ann", admin.RoleRead), r.Method, r.Path, "", "")
		if body := strings.ReplaceAll(w.Body.String(), n.balancer.Addr("imap").String(), "LISTENER"); w.Code != http.StatusOK || named(body) {
			t.Errorf("%s: got %d: %s", r.Path, w.Code, body)
		}
		asked++
	}
	if asked < 9 {
		t.Errorf("only %d questions for readers", asked)
	}
	// What they do see of these events, and of back ends: not who, but that.
	for path, want := range map[string][]string{
		admin.EventsPath + "?users=yes": {`"event":"penalty_begun"`, `"kind":"user"`, `"event":"penalties_cleared"`, `"event":"user_pin_failed"`, `"backend":"mail9"`},
		admin.BoardPath:                 {"penalty_begun", "user_pin_failed", `"by":"test"`},
		admin.BackendsPath:              {`"by":"ann"`, `"problems":{"u2":"dial`},
		admin.CheckupPath:               {`"state":"ready"`},
	} {
		body := askOf(s.As("ann", admin.RoleRead), http.MethodGet, path, "", "").Body.String()
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s as read: no %s: %s", path, w, body)
			}
		}
		if named(body) {
			t.Errorf("%s as read names somebody: %s", path, body)
		}
	}
	// Neither does a stream name him.
	got := streamed(t, s.As("ann", admin.RoleRead), admin.EventsPath+"?since=1h&users=yes", func(seen string) bool { return strings.Contains(seen, "user_kicked") })
	got += streamed(t, s.As("ann", admin.RoleRead), admin.BoardPath, func(seen string) bool { return strings.Contains(seen, "\n\n") })
	got += streamed(t, s.Public(http.NotFoundHandler()), admin.BoardPath, func(seen string) bool { return strings.Contains(seen, "\n\n") })
	if named(got) {
		t.Errorf("a stream names somebody: %s", got)
	}
}
