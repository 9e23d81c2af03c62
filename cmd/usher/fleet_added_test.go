package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"usher.example/balancer/admin"
	"usher.example/cluster/table"
)

// order gives an order by the command line of a node.
func (e *edge) order(args ...string) (string, error) {
	return e.p.command(append(args, "--socket", e.socket())...)
}

// mustOrder is order, and fails the test if it is refused.
func (e *edge) mustOrder(args ...string) string {
	e.t.Helper()
	out, err := e.order(args...)
	if err != nil {
		e.t.Fatalf("%s: usher %s: %v\n%s", e.name, strings.Join(args, " "), err, out)
	}
	return out
}

// backendsOf asks a node for the back ends.
func (e *edge) backendsOf() (list admin.Backends) {
	e.t.Helper()
	if err := json.Unmarshal([]byte(e.mustOrder("backend", "list", "--json")), &list); err != nil {
		e.t.Fatal(err)
	}
	return list
}

// stateOf is the state of a back end as a node sees it; empty if it sees none.
func (e *edge) stateOf(name string) (state, from string) {
	for _, b := range e.backendsOf().Backends {
		if b.Name == name && b.State != "removed" {
			return b.State, b.From
		}
	}
	return "", ""
}

// homeAt finds a user whose home is a back end.
func (e *edge) homeAt(backend, prefix string) string {
	e.t.Helper()
	args := []string{"user", "where", "--json"}
	for i := range 60 {
		args = append(args, fmt.Sprintf("%s%d", prefix, i))
	}
	var list []struct{ User, Home string }
	if err := json.Unmarshal([]byte(e.mustOrder(args...)), &list); err != nil {
		e.t.Fatal(err)
	}
	for _, w := range list {
		if w.Home == backend {
			return w.User
		}
	}
	e.t.Fatalf("of %d users none has its home on %s", len(list), backend)
	return ""
}

// TestFleetAdded adds a back end to a fleet under load and takes it away: with nodes that
// are down, over restarts, against orders that contradict each other and a peer that
// stores nonsense. No login fails, and nobody is ever on two servers.
func TestFleetAdded(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{servers: 3})
	for _, e := range r.nodes {
		e.pools[0].backends = e.pools[0].backends[:2]
	}
	third := proxied("mail3", r.servers[2])
	r.start()
	one, two, three := r.nodes[0], r.nodes[1], r.nodes[2]
	add := []string{"backend", "add", "mail3", "--host", third.host, "--imap-port", portOf(t, third.imap), "--pop3-port", portOf(t, third.pop3)}
	logs := []*load{startLoad(one.site, 2), startLoad(two.site, 2)}

	t.Run("refusals", func(t *testing.T) { r.addRefused(t, add) })
	out := one.mustOrder(append(add, "--dry-run")...)
	if !strings.Contains(out, "nothing was done; backend add mail3 would concern") {
		t.Errorf("dry run: %s", out)
	}
	if state, _ := one.stateOf("mail3"); state != "" {
		t.Errorf("after a dry run mail3 is %s", state)
	}
	one.mustOrder(add...)
	for _, e := range r.nodes {
		eventually(t, e.name+" has mail3 up", func() bool { state, from := e.stateOf("mail3"); return state == "up" && from == "command" })
	}
	user := three.homeAt("mail3", "new")
	for i, e := range r.nodes {
		if ok, verdict := e.tries(user); !ok {
			t.Errorf("%s by %s: %s", user, e.name, verdict)
		}
		if at := r.last(user, i+1); at != "mail3" {
			t.Errorf("%s by %s is at %s, want mail3", user, e.name, at)
		}
	}
	for _, l := range logs {
		l.end(t)
	}

	t.Run("killed", func(t *testing.T) { r.addedKilled(t) })
	live := r.session(one, user)
	r.seenFromAfar(t, two, one, user)
	if out, err := two.order("backend", "remove", "mail3"); err == nil || !strings.Contains(out, "has 1 users") {
		t.Errorf("removed under a user's feet: %v %s", err, out)
	}
	three.stop()
	two.mustOrder("backend", "remove", "mail3", "--force")
	if !live.works() {
		t.Error("the session ended with the removal")
	}
	if ok, verdict := two.tries(user); !ok || r.last(user, 5) == "mail3" {
		t.Errorf("after the removal: %s, at %s", verdict, r.last(user, 5))
	}
	eventually(t, "the session at the removed back end is closed", func() bool { return !live.works() })
	two.mustOrder(add...)
	three.begin() // it was away for both
	three.ready()
	if ok, verdict := three.tries(user); !ok {
		t.Errorf("%s by a node that was away: %s", user, verdict)
	}

	for _, e := range r.nodes {
		e.stop()
	}
	two.begin() // without a majority it goes by what it has
	eventually(t, "a node without the others sends him to mail3", func() bool {
		ok, _ := two.tries(user)
		return ok && strings.Contains(two.mustOrder("user", "where", user), "mail3")
	})
	one.begin()
	three.begin()
	for _, e := range r.nodes {
		e.ready()
	}
	again := two.homeAt("mail3", "again")
	for i, e := range r.nodes {
		if ok, verdict := e.tries(again); !ok || r.last(again, i+1) != "mail3" {
			t.Errorf("%s by %s after all were restarted: %s at %s", again, e.name, verdict, r.last(again, i+1))
		}
	}
	t.Run("nonsense", func(t *testing.T) { r.addedNonsense(t) })
	t.Run("both", func(t *testing.T) { r.addedAndInFile(t, third) })
	r.checkPresence(9)
}

// addedKilled kills all nodes at once, before any has taken a snapshot; and
// with USHER_LONG a leader too, while the others serve. What was added and what was set
// for it by command is as it was.
func (r *rig) addedKilled(t *testing.T) {
	one := r.nodes[0]
	one.mustOrder("backend", "weight", "mail3", "7")
	one.mustOrder("backend", "drain", "mail3")
	type set struct {
		admin, from string
		weight      int
		over        bool
		since       int64  // of the last order: a back end that was defined anew
		by          string // has another
	}
	see := func(e *edge) (s set) {
		for _, b := range e.backendsOf().Backends {
			if b.Name == "mail3" && b.State != "removed" {
				s = set{b.Admin, b.From, b.Weight, b.Override, b.Since, b.By}
			}
		}
		return s
	}
	want := see(one)
	if want.admin != "drain" || want.from != "command" || want.weight != 7 || !want.over || want.by == "configuration" {
		t.Fatalf("before: %+v", want)
	}
	check := func(when string) {
		t.Helper()
		for _, e := range r.nodes {
			e.ready()
		}
		for _, e := range r.nodes {
			if got := see(e); got != want {
				t.Errorf("%s: %s has mail3 %+v, want %+v", when, e.name, got, want)
			}
		}
	}
	for _, e := range r.nodes {
		e.kill()
	}
	for _, e := range r.nodes {
		e.begin()
	}
	check("all were killed")
	if os.Getenv("USHER_LONG") != "" {
		peer := r.administrator("")
		for i := range 6 { // whoever is elected may be one that has just come back
			e := r.leads(peer)
			e.kill()
			e.begin()
			check(fmt.Sprintf("leader %s was killed, the %d. time", e.name, i+1))
		}
	}
	one.mustOrder("backend", "activate", "mail3")
	one.mustOrder("backend", "weight", "mail3", "config")
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, ok := strings.Cut(address, ":")
	if !ok {
		return address
	}
	return port
}

// addRefused orders what no node, or one node, cannot do.
func (r *rig) addRefused(t *testing.T, add []string) {
	one := r.nodes[0]
	first := r.nodes[0].pools[0].backends[0]
	for _, tt := range []struct {
		args string
		want string
	}{
		{"backend add mail1 --host 192.0.2.1 --imap-port 143", `"mail1" is in the configuration of edge-1, edge-2, edge-3`},
		{"backend add mail4 --host no-such-host.invalid --imap-port 143 --pop3-port 110", `node edge-2 cannot use it: `},
		{"backend add mail4 --host no/host --imap-port 143", "want a host name or address"},
		{"backend add mail4 --host 192.0.2.1 --imap-port 65536", "out of range"},
		{"backend add mail4 --host 192.0.2.1 --imap-port 143 --weight 1001", "out of range"},
		{"backend add mail4 --host 192.0.2.1", "a port is missing"},
		{"backend add a/b --host 192.0.2.1 --imap-port 143", "want a name"},
		{"backend add mail4 --host " + first.host + " --imap-port " + portOf(t, first.imap) + " --pop3-port 110", "one server, one name"},
		{"backend add mail4 --pool none --host 192.0.2.1 --imap-port 143", `pool "none"`},
		{"backend add mail4 --host 192.0.2.1 --pop3-port 110", "imap_port is missing"},
		{"backend remove mail1", "not added by command: it is in the configuration of edge-1, edge-2, edge-3"},
		{"backend remove mail9", "no back end"},
	} {
		if out, err := one.order(strings.Fields(tt.args)...); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("usher %s: %v, %s\nwant %q", tt.args, err, out, tt.want)
		}
	}
	if n := len(one.backendsOf().Backends); n != 2 {
		t.Fatalf("%d back ends after orders that were refused", n)
	}
	// Two who add different servers by one name, at two nodes at once: one of them.
	var wg sync.WaitGroup
	outs, errs := make([]string, 2), make([]error, 2)
	for i := range 2 {
		wg.Go(func() {
			outs[i], errs[i] = r.nodes[i].order("backend", "add", "mail5", "--host", fmt.Sprintf("127.0.0.%d", 5+i), "--imap-port", "9", "--pop3-port", "10", "--weight", "0")
		})
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("two orders by one name: %v %s, %v %s", errs[0], outs[0], errs[1], outs[1])
	}
	r.nodes[2].mustOrder("backend", "remove", "mail5")
}

// addedNonsense has a peer store what is no definition.
func (r *rig) addedNonsense(t *testing.T) {
	peer := r.administrator("")
	for key, text := range map[string]string{
		"backends/main/garbage": "\x00\xff{",
		"backends/main/twisted": `{"pool":"main","name":"mail1","host":"192.0.2.1","imap_port":143,"live":true}`,
		"backends/main/newer":   `{"pool":"main","name":"newer","host":"192.0.2.1","imap_port":143,"live":true,"tls":"none"}`,
		"backends/none/lost":    `{"pool":"none","name":"lost","host":"192.0.2.1","imap_port":143,"live":true}`,
		"backends/main/huge":    `{"pool":"main","name":"huge","host":"` + strings.Repeat("a", 5000) + `","live":true}`,
		"backends/main/mail1":   `{"pool":"main","name":"mail1","host":"192.0.2.1","imap_port":143,"live":true}`,
	} {
		if err := peer.Put(deadlineCtx(t), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range r.nodes {
		eventually(t, e.name+" tells of five that it cannot use", func() bool {
			n := 0
			for _, a := range e.backendsOf().Additions {
				if a.Problems[e.name] != "" {
					n++
				}
			}
			return n == 5
		})
		if state, from := e.stateOf("mail1"); state != "up" || from != "file" {
			t.Errorf("%s has mail1 %s from %s, want the file's", e.name, state, from)
		}
		if ok, verdict := e.tries("steady"); !ok {
			t.Errorf("a login by %s: %s", e.name, verdict)
		}
	}
	for _, name := range []string{"garbage", "twisted", "newer", "huge"} {
		r.nodes[1].mustOrder("backend", "remove", name, "--pool", "main", "--force")
	}
	r.nodes[1].mustOrder("backend", "remove", "lost", "--pool", "none", "--force")
	r.nodes[1].mustOrder("backend", "remove", "mail1", "--force")
	if state, _ := r.nodes[1].stateOf("mail1"); state != "up" {
		t.Errorf("mail1 is %s, want the file's to go on", state)
	}
	if err := peer.SetAdmin(deadlineCtx(t), "main", "mail2", table.Active, "test"); err != nil {
		t.Fatal(err)
	}
}

// addedAndInFile has what was added written into the files, and then removed: nobody
// notices.
func (r *rig) addedAndInFile(t *testing.T, third backend) {
	live := r.session(r.nodes[0], r.nodes[0].homeAt("mail3", "file"))
	for _, e := range r.nodes {
		e.pools[0].backends = append(e.pools[0].backends, third)
		if got := e.p.reload(t, e.site); !strings.Contains(got, "reloaded") {
			t.Fatal(got)
		}
	}
	if out := r.nodes[0].mustOrder("backend", "list"); !strings.Contains(out, "main/mail3 was added by command, and stands in the file of a node") {
		t.Errorf("the list says nothing of both:\n%s", out)
	}
	r.nodes[0].mustOrder("backend", "remove", "mail3", "--force")
	for _, e := range r.nodes {
		eventually(t, e.name+" has it from the file", func() bool { state, from := e.stateOf("mail3"); return state == "up" && from == "file" })
	}
	if !live.works() {
		t.Error("a session ended")
	}
}

// seenFromAfar asks one node about the session that a user has on another.
func (r *rig) seenFromAfar(t *testing.T, asked, at *edge, user string) {
	t.Helper()
	var found admin.FoundSessions
	if err := json.Unmarshal([]byte(asked.mustOrder("sessions", "--all-nodes", "--backend", "mail3", "--top", "5", "--json")), &found); err != nil {
		t.Fatal(err)
	}
	if found.All != 1 || len(found.Sessions) != 1 || found.Sessions[0].Node != at.name || found.Sessions[0].User != user || len(found.Nodes) != len(r.nodes) {
		t.Errorf("sessions on mail3: %+v", found)
	}
	for args, want := range map[string]string{
		"sessions --node " + at.name:                 "1 of 1 session",
		"sessions --node " + asked.name:              "no sessions",
		"sessions --older 1h":                        "no sessions",
		"backend evacuate mail3 --dry-run --users 5": "users: " + user + "\n",
		"backend down mail3 --dry-run --users 5":     "would concern 1 user with 1 session, and close 1 session",
		"user kick " + user + " --dry-run":           "would concern 1 user with 1 session",
		"user move " + user + " mail1 --dry-run":     "mail3  mail1  1      1         closed at once",
		"node drain " + at.name + " --dry-run":       "would concern 1 user with 1 session",
		"backend remove mail3 --force --dry-run":     "at the next login",
	} {
		if out := asked.mustOrder(strings.Fields(args)...); !strings.Contains(out, want) {
			t.Errorf("usher %s:\n%s\nwant %q", args, out, want)
		}
	}
	asked.mustOrder("node", "drain", at.name)
	asked.mustOrder("node", "resume", at.name)
	if out := asked.mustOrder("node", "list"); strings.Contains(out, "drained") {
		t.Errorf("after a resume:\n%s", out)
	}
}
