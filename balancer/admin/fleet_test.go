package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/table"
)

// A fakeFleet notes its orders and answers each with err.
type fakeFleet struct {
	err    error
	absent error // of nodes that do not answer
	orders []string
}

func (f *fakeFleet) note(format string, args ...any) error {
	f.orders = append(f.orders, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fakeFleet) Overview() cluster.Overview {
	return cluster.Overview{Fleet: "mail", Node: "u1", Vault: cluster.Vault{Seals: []cluster.Seal{}, Locks: []cluster.LockState{}}, Members: []cluster.NodeState{{Node: "u1", State: "alive"}, {Node: "u2", State: "absent"}}}
}
func (f *fakeFleet) MissingVoters() []string { return []string{"u2", "u3"} }

func (f *fakeFleet) Differences() map[string][]string {
	return map[string][]string{"u1": {"fleet.kick_delay is 1s, the fleet's is 2s"}}
}

func (f *fakeFleet) Nodes() ([]cluster.FleetNode, error) {
	return []cluster.FleetNode{{NodeState: cluster.NodeState{Node: "u1"}, Users: 3, Answered: true}}, f.absent
}

func (f *fakeFleet) Gauges() cluster.Gauges {
	return cluster.Gauges{Lease: 5 * time.Second, Views: 7, Held: 3, Isolations: 2}
}

func (f *fakeFleet) Octets() (in, out uint64)             { return 11, 22 }
func (f *fakeFleet) DrainNode(node string, on bool) error { return f.note("drain %s %v", node, on) }
func (f *fakeFleet) Forget(node string) error             { return f.note("forget %s", node) }
func (f *fakeFleet) RotateTickets(drop bool) error        { return f.note("tickets %v", drop) }
func (f *fakeFleet) Backends() ([]cluster.FleetBackend, error) {
	return []cluster.FleetBackend{
		{Pool: "main", Name: "mail1"},
		{Pool: "main", Name: "mail2"},
		{Pool: "main", Name: "mail9", State: "removed"},
		{Pool: "a", Name: "both"},
		{Pool: "b", Name: "both"},
	}, f.absent
}

func (f *fakeFleet) SetAdmin(_ context.Context, pool, backend string, state table.Admin, by string) error {
	return f.note("admin %s/%s %s by %s", pool, backend, state, by)
}

func (f *fakeFleet) SetWeight(_ context.Context, pool, backend string, weight int, by string) error {
	return f.note("weight %s/%s %d by %s", pool, backend, weight, by)
}

func (f *fakeFleet) Move(_ context.Context, pool, user, target, by string) error {
	return f.note("move %s/%s %q by %s", pool, user, target, by)
}

func (f *fakeFleet) Home(_ context.Context, pool, user, by string) error {
	return f.note("home %s/%s by %s", pool, user, by)
}

func (f *fakeFleet) KickAll(user, _ string) (int, error) {
	return 2, errors.Join(f.note("kick %s", user), f.absent)
}

func (f *fakeFleet) Sessions(user string) ([]cluster.UserSessions, error) {
	return []cluster.UserSessions{{Node: "u1", Sessions: []byte(`[{"id":"s1","user":"` + user + `"}]`)}}, f.absent
}

// inFleet is a node with a fleet.
func inFleet(t *testing.T, f admin.Fleet) *node {
	t.Helper()
	n := newNode(t)
	n.Server = admin.New(admin.Options{Node: n.balancer, Places: n.places, Fleet: f})
	return n
}

// What the fleet port carries is a metric.
func TestFleetBytes(t *testing.T) {
	text := inFleet(t, new(fakeFleet)).scrape(t)
	for _, want := range []string{`usher_fleet_bytes_total{dir="in"} 11`, `usher_fleet_bytes_total{dir="out"} 22`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestFleetOrders(t *testing.T) {
	for _, tt := range []struct {
		path, body string
		err        error
		code       int
		want       string // in the answer
		order      string // that the fleet gets
	}{
		{admin.NodeDrainPath, `{"node":"u2"}`, nil, 200, `{"done":true}`, "drain u2 true"},
		{admin.NodeDrainPath, `{"node":"u2","undo":true}`, nil, 200, `{"done":true}`, "drain u2 false"},
		{admin.NodeDrainPath, `{}`, nil, 400, "which node is not said", ""},
		{admin.NodeDrainPath, `{"node":"u9"}`, table.ErrNoMember, 404, "there are: u1, u2", "drain u9 true"},
		{admin.NodeDrainPath, `{"node":"u2"}`, cluster.ErrAbsent, 503, "when it is back", "drain u2 true"},
		{admin.NodeForgetPath, `{"node":"u1"}`, nil, 409, "stop it first", ""},
		{admin.NodeForgetPath, `{"node":"u2"}`, nil, 200, `{"done":true}`, "forget u2"},
		{admin.NodeForgetPath, `{"node":"u2"}`, table.ErrCounted, 409, "try again in half a minute", "forget u2"},
		{admin.NodeForgetPath, `{"node":"u2","force":true}`, nil, 400, "malformed", ""},

		{admin.TicketsPath, `{}`, nil, 200, `{"done":true}`, "tickets false"},
		{admin.TicketsPath, `{"drop":true,"by":"ann"}`, nil, 200, `{"done":true}`, "tickets true"},
		{admin.TicketsPath, `{"drop":1}`, nil, 400, "malformed", ""},
		{admin.TicketsPath, `{}`, cluster.ErrNoLeader, 503, "missing voters: u2, u3; start them", "tickets false"},

		{admin.BackendStatePath, `{"backend":"mail1","state":"drain","by":"ann"}`, nil, 200, `{"done":true}`, "admin main/mail1 drain by ann"},
		{admin.BackendStatePath, `{"backend":"mail1","state":"ready"}`, nil, 400, "say active, drain, evacuate or down", ""},
		{admin.BackendStatePath, `{"backend":"mail3","state":"down"}`, nil, 404, "there are: a/both, b/both, main/mail1, main/mail2", ""},
		{admin.BackendStatePath, `{"backend":"mail9","state":"down"}`, nil, 404, `no back end \"mail9\"`, ""},
		{admin.BackendStatePath, `{"backend":"both","state":"down"}`, nil, 400, "say the pool: a, b", ""},
		{admin.BackendStatePath, `{"backend":"both","pool":"b","state":"down"}`, nil, 200, `{"done":true}`, "admin b/both down by an administrator"},
		{admin.WeightPath, `{"backend":"mail1","weight":0}`, nil, 200, `{"done":true}`, "weight main/mail1 0 by an administrator"},
		{admin.WeightPath, `{"backend":"mail1"}`, nil, 400, "no weight that could be", ""},
		{admin.WeightPath, `{"backend":"mail1","weight":100000}`, nil, 400, "no weight that could be", ""},
		{admin.WeightPath, `{"backend":"mail1","weight":5}`, cluster.ErrNoLeader, 503, "missing voters: u2, u3; start them", "weight main/mail1 5 by an administrator"},

		{admin.MovePath, `{"user":"joe","backend":"mail2","by":"ann"}`, nil, 200, `{"done":true}`, `move main/joe "mail2" by ann`},
		{admin.MovePath, `{"user":"joe"}`, nil, 200, `{"done":true}`, "home main/joe by an administrator"},
		{admin.MovePath, `{"user":"joe","backend":"mail3"}`, table.ErrNoBackend, 404, "pool main has: mail1, mail2", `move main/joe "mail3" by an administrator`},
		{admin.MovePath, `{"user":"joe","backend":"mail2"}`, table.ErrTarget, 409, "make it active", `move main/joe "mail2" by an administrator`},
		{admin.MovePath, `{"user":"joe","backend":"mail2"}`, table.ErrMoving, 409, "when that is over", `move main/joe "mail2" by an administrator`},
		{admin.MovePath, `{"user":"joe","backend":"mail2"}`, cluster.ErrNoLeader, 503, `"no_quorum":true`, `move main/joe "mail2" by an administrator`},
		{admin.MovePath, `{"user":"","backend":"mail2"}`, nil, 400, "the user's name is missing", ""},
		{admin.MovePath, `{"user":"joe","pool":"x","backend":"mail2"}`, nil, 404, "there are: main", ""},
		{admin.MovePath, `{"user":"` + strings.Repeat("x", 513) + `"}`, nil, 400, "none has more than 512", ""},
		{admin.PinPath, `{"user":"joe"}`, nil, 200, `{"done":true}`, `move main/joe "mail1" by an administrator`},
		{admin.UnpinPath, `{"user":"joe"}`, nil, 404, admin.NoPin, ""},
		{admin.UnpinPath, `{"user":"joe","backend":"mail1"}`, nil, 400, "malformed", ""},
		{admin.UserKickPath, `{"user":"joe"}`, nil, 200, `{"kicked":2,"missing":[]}`, "kick joe"},
	} {
		f := &fakeFleet{err: tt.err}
		w := inFleet(t, f).ask(http.MethodPost, tt.path, "application/json", tt.body)
		got := strings.Join(f.orders, "; ")
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) || got != tt.order {
			t.Errorf("%s %s: got %d %swant %d with %s; order %q, want %q", tt.path, tt.body, w.Code, w.Body, tt.code, tt.want, got, tt.order)
		}
	}
}

func TestFleetQuestions(t *testing.T) {
	n := inFleet(t, &fakeFleet{absent: errors.New("node u2: gone\nnode u3: gone")})
	if st := get[admin.FleetStatus](t, n, admin.FleetPath); st.Fleet != "mail" || len(st.Missing) != 2 {
		t.Errorf("got %+v", st)
	}
	if l := get[admin.Nodes](t, n, admin.NodesPath); len(l.Nodes) != 1 || l.Nodes[0].Users != 3 || len(l.Missing) != 2 {
		t.Errorf("got %+v", l)
	}
	if l := get[admin.Backends](t, n, admin.BackendsPath); len(l.Backends) != 5 || len(l.Missing) != 2 {
		t.Errorf("got %+v", l)
	}
	if l := get[admin.UserSessions](t, n, admin.UserSessionsPath+"?user=joe"); len(l.Sessions) != 1 || l.Sessions[0].Node != "u1" || l.Sessions[0].User != "joe" {
		t.Errorf("got %+v", l)
	}
	for _, target := range []string{admin.UserSessionsPath, admin.NodesPath + "?x=1", admin.FleetPath + "?verbose"} {
		if w := n.ask(http.MethodGet, target, "", ""); w.Code != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", target, w.Code, w.Body)
		}
	}
	if w := n.ask(http.MethodPost, admin.FleetPath, "application/json", "{}"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d", w.Code)
	}
}

// A node that is in no fleet says so, and answers what it can alone.
func TestNoFleet(t *testing.T) {
	n := newNode(t)
	n.connect(t).login(t, "joe", "good")
	for _, path := range []string{admin.MovePath, admin.PinPath, admin.UnpinPath, admin.NodeDrainPath, admin.NodeForgetPath, admin.TicketsPath, admin.BackendStatePath, admin.WeightPath} {
		if w := n.ask(http.MethodPost, path, "application/json", "{}"); w.Code != http.StatusNotImplemented || !strings.Contains(w.Body.String(), "set [fleet]") {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
	if l := get[admin.Backends](t, n, admin.BackendsPath); len(l.Backends) != 2 || l.Backends[0].Users != 1 || l.Backends[1].Admin != "drain" {
		t.Errorf("got %+v", l)
	}
	if l := get[admin.UserSessions](t, n, admin.UserSessionsPath+"?user=joe"); len(l.Sessions) != 1 {
		t.Errorf("got %+v", l)
	}
	w := n.ask(http.MethodPost, admin.UserKickPath, "application/json", `{"user":"joe"}`)
	if got, want := w.Body.String(), `{"kicked":1,"missing":[]}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
