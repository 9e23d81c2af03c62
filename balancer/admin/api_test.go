package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/place"
	"usher.example/sniff"
)

// get decodes a good answer.
func get[T any](t *testing.T, n *node, target string) T {
	t.Helper()
	w := n.ask(http.MethodGet, target, "", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%s: got %d: %s", target, w.Code, w.Body)
	}
	return decode[T](t, w.Body.String())
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

func TestStatus(t *testing.T) {
	n := newNode(t)
	n.reloads.Record(nil)
	n.connect(t)
	n.connect(t).login(t, "joe", "good")
	st := get[admin.Status](t, n, admin.StatusPath)
	if st.Version != "1.2.3" || st.Uptime < 3600 || st.Draining || !st.Ready || !st.Config.Successful {
		t.Errorf("node: got %+v", st)
	}
	if st.Sessions != 2 || st.Prelogin != 1 {
		t.Errorf("got %d sessions, %d before login; want 2 and 1", st.Sessions, st.Prelogin)
	}
	if len(st.Listeners) != 1 || st.Listeners[0].Name != "imap" || st.Listeners[0].Open != 2 {
		t.Errorf("listeners: got %+v", st.Listeners)
	}
	if len(st.Pools) != 1 || len(st.Pools[0].Backends) != 2 || st.Pools[0].Usable != 1 {
		t.Fatalf("pools: got %+v", st.Pools)
	}
	mail1, mail2 := st.Pools[0].Backends[0], st.Pools[0].Backends[1]
	if mail1.Name != "mail1" || mail1.Sessions != 1 || mail1.Users != 1 || mail1.Dials != 1 || mail1.State != "up" {
		t.Errorf("mail1: got %+v", mail1)
	}
	if mail1.Health == nil || mail1.Health.State != "up" || mail1.Health.Error != "dial: \x1b[2Jrefused" {
		t.Errorf("mail1: got health %+v", mail1.Health)
	}
	if mail2.Admin != cluster.Drain || mail2.State != "drain" || mail2.Health != nil {
		t.Errorf("mail2: got %+v", mail2)
	}
}

func TestStatusOfDrainingNode(t *testing.T) {
	n := newNode(t)
	n.draining.Store(true)
	st := get[admin.Status](t, n, admin.StatusPath)
	if !st.Draining || st.Ready || len(st.Reasons) != 1 || st.Reasons[0] != "draining" {
		t.Errorf("got %+v", st)
	}
}

// A node that is degraded is ready, and says what is wrong.
func TestStatusOfDegradedNode(t *testing.T) {
	n := newNode(t)
	if st := get[admin.Status](t, n, admin.StatusPath); len(st.Degraded) != 0 || st.Degraded == nil || !strings.Contains(n.scrape(t), "\nusher_degraded 0\n") {
		t.Errorf("while all is well: %+v", st)
	}
	n.degraded.Store(true)
	st := get[admin.Status](t, n, admin.StatusPath)
	if !st.Ready || !slices.Equal(st.Degraded, []string{"isolated"}) {
		t.Errorf("got %+v", st)
	}
	if text := n.scrape(t); !strings.Contains(text, "\nusher_ready 1\n") || !strings.Contains(text, "\nusher_degraded 1\n") {
		t.Errorf("got %s", text)
	}
}

func TestSessions(t *testing.T) {
	n := newNode(t)
	n.connect(t)
	n.connect(t).login(t, "joe", "good")
	n.connect(t).login(t, "ann", "good")
	if all := get[admin.Sessions](t, n, admin.SessionsPath); len(all.Sessions) != 3 {
		t.Errorf("got %d sessions, want 3", len(all.Sessions))
	}
	joes := get[admin.Sessions](t, n, admin.SessionsPath+"?user=joe").Sessions
	if len(joes) != 1 {
		t.Fatalf("got %d sessions of joe, want 1", len(joes))
	}
	if s := joes[0]; s.User != "joe" || s.Backend != "mail1" || s.Phase != balancer.PhaseForward || s.Why != place.ByHome {
		t.Errorf("got %+v", s)
	}
	w := n.ask(http.MethodGet, admin.SessionsPath+"?user=nobody", "", "")
	if got, want := w.Body.String(), `{"sessions":[]}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNoAnswerHasAPassword(t *testing.T) {
	n := newNode(t)
	n.connect(t).login(t, "joe", "Tr0ub4dor")
	n.connect(t).login(t, "ann", "wrong") // is refused
	var text strings.Builder
	text.WriteString(n.scrape(t))
	for _, path := range []string{admin.StatusPath, admin.SessionsPath, admin.UserPath + "?user=joe"} {
		text.WriteString(n.ask(http.MethodGet, path, "", "").Body.String())
	}
	if !strings.Contains(text.String(), `"joe"`) || !strings.Contains(text.String(), `"ann"`) {
		t.Fatalf("the logins are in no answer:\n%s", text.String())
	}
	for _, secret := range []string{"Tr0ub4dor", "wrong"} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("%s is in an answer:\n%s", secret, text.String())
		}
	}
}

func TestUser(t *testing.T) {
	n := newNode(t)
	n.connect(t).login(t, "joe", "good")
	for _, tt := range []struct{ query, place, why string }{
		{"?user=joe&pool=main", "mail1", place.ByHome},
		{"?user=joe", "mail1", place.ByHome}, // there is one pool
		{"?user=ann", "mail1", place.ByHome}, // the other one is drained
	} {
		w := get[cluster.Whereabouts](t, n, admin.UserPath+tt.query)
		if w.Place != tt.place || w.Why != tt.why {
			t.Errorf("%s: got %+v", tt.query, w)
		}
	}
}

func TestUserNeedsPool(t *testing.T) {
	n := newNode(t)
	backends := []cluster.Backend{{Name: "mail1", Weight: 1}}
	if err := n.places.Update([]cluster.Pool{{Name: "main", Backends: backends}, {Name: "vip", Backends: backends}}); err != nil {
		t.Fatal(err)
	}
	if err := n.places.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := n.ask(http.MethodGet, admin.UserPath+"?user=joe", "", "")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "main, vip") {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

func TestKick(t *testing.T) {
	n := newNode(t)
	joe, joe2, ann := n.connect(t), n.connect(t), n.connect(t)
	joe.login(t, "joe", "good")
	joe2.login(t, "joe", "good")
	ann.login(t, "ann", "good")
	kick := func(order string) int {
		t.Helper()
		w := n.ask(http.MethodPost, admin.KickPath, "application/json; charset=utf-8", order)
		if w.Code != http.StatusOK {
			t.Fatalf("got %d: %s", w.Code, w.Body)
		}
		return decode[admin.Kicked](t, w.Body.String()).Kicked
	}
	if got := kick(`{"user": "joe"}`); got != 2 {
		t.Errorf("joe: got %d, want 2", got)
	}
	joe.ended(t)
	joe2.ended(t)
	anns := get[admin.Sessions](t, n, admin.SessionsPath+"?user=ann").Sessions
	if len(anns) != 1 {
		t.Fatalf("ann has %d sessions, want 1", len(anns))
	}
	if got := kick(fmt.Sprintf(`{"session": %q}`, anns[0].ID)); got != 1 {
		t.Errorf("ann: got %d, want 1", got)
	}
	ann.ended(t)
	if got := kick(`{"user": "nobody"}`); got != 0 {
		t.Errorf("nobody: got %d, want 0", got)
	}
	if got, want := n.log.String(), "msg=kicked user=joe sessions=2"; !strings.Contains(got, want) {
		t.Errorf("log: got %q, want %q in it", got, want)
	}
}

func TestRefusals(t *testing.T) {
	n := newNode(t)
	long := strings.Repeat("x", sniff.MaxUser+1)
	const isJSON = "application/json"
	for _, tt := range []struct {
		name, method, target, kind, body string
		code                             int
		text                             string
	}{
		{"path", "GET", "/v1/secrets", "", "", 404, admin.StatusPath},
		{"another version", "GET", "/v2/status", "", "", 404, admin.StatusPath},
		{"method", "POST", admin.StatusPath, isJSON, "{}", 405, "use GET"},
		{"head", "HEAD", admin.StatusPath, "", "", 405, "use GET"},
		{"get to kick", "GET", admin.KickPath + "?user=joe", "", "", 405, "use POST"},
		{"body of a question", "GET", admin.StatusPath, isJSON, "{}", 400, "no body"},
		{"parameter", "GET", admin.StatusPath + "?user=joe", "", "", 400, "unknown"},
		{"misspelt parameter", "GET", admin.SessionsPath + "?usr=joe", "", "", 400, "this path takes: user"},
		{"doubled parameter", "GET", admin.SessionsPath + "?user=joe&user=ann", "", "", 400, "twice"},
		{"malformed parameter", "GET", admin.SessionsPath + "?user=%zz", "", "", 400, "malformed"},
		{"empty user", "GET", admin.SessionsPath + "?user=", "", "", 400, "missing"},
		{"long user", "GET", admin.SessionsPath + "?user=" + long, "", "", 400, "512"},
		{"no user", "GET", admin.UserPath, "", "", 400, "missing"},
		{"no pool", "GET", admin.UserPath + "?user=joe&pool=none", "", "", 404, "there are: main"},
		{"parameter of kick", "POST", admin.KickPath + "?user=joe", isJSON, `{"user":"joe"}`, 400, "no parameters"},
		{"no type", "POST", admin.KickPath, "", `{"user":"joe"}`, 415, isJSON},
		{"form", "POST", admin.KickPath, "application/x-www-form-urlencoded", "user=joe", 415, isJSON},
		{"no body", "POST", admin.KickPath, isJSON, "", 400, "malformed"},
		{"half a body", "POST", admin.KickPath, isJSON, `{"user":"jo`, 400, "malformed"},
		{"unknown field", "POST", admin.KickPath, isJSON, `{"user":"joe","all":true}`, 400, "malformed"},
		{"wrong type", "POST", admin.KickPath, isJSON, `{"user":7}`, 400, "malformed"},
		{"two objects", "POST", admin.KickPath, isJSON, `{"user":"joe"}{"user":"ann"}`, 400, "follows"},
		{"nobody", "POST", admin.KickPath, isJSON, `{}`, 400, "one of"},
		{"empty user of kick", "POST", admin.KickPath, isJSON, `{"user":""}`, 400, "one of"},
		{"both", "POST", admin.KickPath, isJSON, `{"user":"joe","session":"x"}`, 400, "one of"},
		{"long name", "POST", admin.KickPath, isJSON, `{"user":"` + long + `"}`, 400, "512"},
		{"large body", "POST", admin.KickPath, isJSON, `{"user":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "at most"},
		{"large space", "POST", admin.KickPath, isJSON, `{"user":"joe"}` + strings.Repeat(" ", 1<<20), 413, "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := n.ask(tt.method, tt.target, tt.kind, tt.body)
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.text) {
				t.Errorf("got %d %s, want %d and %q", w.Code, w.Body, tt.code, tt.text)
			}
			if r := decode[admin.Refusal](t, w.Body.String()); r.Message == "" || r.Next == "" {
				t.Errorf("got %+v, want what is wrong and what to do next", r)
			}
		})
	}
}

// TestLongestName holds the bound of bodies to that of names.
func TestLongestName(t *testing.T) {
	n := newNode(t)
	escaped := strings.Repeat(`\u0061`, sniff.MaxUser)
	w := n.ask(http.MethodPost, admin.KickPath, "application/json", `{ "user": "`+escaped+`" }`)
	if w.Code != http.StatusOK {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}
