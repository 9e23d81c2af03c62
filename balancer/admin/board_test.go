package admin_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/balancer/admin"
)

// A board is what the nodes tell, put together: sums, shares, the worst first.
func TestBoard(t *testing.T) {
	b := snapshot(t, failing().server().Public(public))
	if b.Node != "edge-1" || b.Fleet.Name != "mail" || b.Fleet.Leader != "edge-2" || b.Role != "read" {
		t.Errorf("got %+v", b.Fleet)
	}
	if got := b.Totals; got.Nodes != 4 || got.NodesReady != 2 || got.Backends != 5 || got.BackendsUp != 3 || got.Sessions != 440 || got.Logins != nil {
		t.Errorf("got %+v", got)
	}
	states := map[string]string{}
	for _, n := range b.Nodes {
		states[n.Name] = n.State
	}
	for node, want := range map[string]string{"edge-1": admin.NodeDegraded, "edge-2": admin.NodeReady, "edge-3": admin.NodeAbsent, "edge-4": admin.NodeSilent} {
		if states[node] != want {
			t.Errorf("%s is %q, want %q", node, states[node], want)
		}
	}
	for _, row := range snapshot(t, failing().server().Handler()).Backends {
		if row.Name == "mail4" && row.By != "ann" {
			t.Errorf("who may give orders does not see whose it was: %+v", row)
		}
	}
	share, due := 0.0, 0.0
	for _, row := range b.Backends {
		if row.Pool == "main" {
			share, due = share+row.Share, due+row.Due
		}
		if row.Name == "mail4" && (row.Due != 0 || row.By != "") {
			t.Errorf("of a back end that drains: %+v", row)
		}
		if row.Name == "mail2" && (len(row.Errors) != 1 || !strings.HasPrefix(row.Errors[0], "edge-1, edge-2: dial")) {
			t.Errorf("what two nodes say alike is there as %q", row.Errors)
		}
	}
	if share < 0.999 || share > 1.001 || due < 0.999 || due > 1.001 {
		t.Errorf("shares sum to %v, dues to %v", share, due)
	}
	level := 0
	for _, a := range b.Alarms {
		now := map[string]int{admin.LevelCritical: 0, admin.LevelWarning: 1, admin.LevelNotice: 2}[a.Level]
		if now < level {
			t.Errorf("%q comes behind something better", a.Text)
		}
		level = now
	}
	if len(b.Certificates) != 2 || !b.Certificates[0].Ending || len(b.Certificates[1].Nodes) != 2 {
		t.Errorf("certificates: %+v", b.Certificates)
	}
}

// Rates come from two looks, quantiles from what grew between them; who asks twice
// within one look makes nobody be asked again, and when nobody asks nobody is.
func TestBoardRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(2, 2)
		h := s.server().Public(public)
		first := snapshot(t, h)
		if first.Totals.Logins != nil || first.Backends[0].ConnectP50 == nil || *first.Backends[0].ConnectP50 != 5 || *first.Backends[0].ConnectP95 != 25 {
			t.Errorf("at first: %+v %+v", first.Totals, first.Backends[0])
		}
		if snapshot(t, h); s.asked != 1 {
			t.Errorf("two at a time make the nodes be asked %d times", s.asked)
		}
		grow := func() {
			for _, p := range s.parts {
				row := p["backends"].([]map[string]any)[0]
				row["logins"] = row["logins"].(int) + 10
				row["connect"] = []map[string]any{{"le": 0.005, "n": 700}, {"le": 0.01, "n": 900}, {"le": 0.025, "n": 990}, {"le": 0.05, "n": 1020}}
			}
		}
		grow()
		time.Sleep(2 * time.Second)
		b := snapshot(t, h)
		if b.Totals.Logins == nil || *b.Totals.Logins != 24 {
			t.Errorf("24 logins each of two nodes in two seconds: got %v", b.Totals.Logins)
		}
		row := b.Backends[0]
		if row.Logins == nil || *row.Logins != 10 || *row.Failures != 0 || *row.ConnectP50 != 50 || *row.ConnectP95 != 50 {
			t.Errorf("got %+v", row)
		}
		if idle := b.Backends[1]; *idle.Logins != 0 || idle.ConnectP50 != nil {
			t.Errorf("got %+v", idle)
		}

		// A node that was started anew begins anew.
		s.parts["edge-2"]["uptime"], s.parts["edge-2"]["logins"] = 1.0, 0
		time.Sleep(2 * time.Second)
		if b := snapshot(t, h); b.Nodes[1].Logins != nil || *b.Nodes[0].Logins != 12 {
			t.Errorf("got %v and %v", b.Nodes[0].Logins, b.Nodes[1].Logins)
		}

		// One that falls silent is shown with what it said last, and not counted.
		delete(s.parts, "edge-2")
		time.Sleep(4 * time.Second)
		n := snapshot(t, h).Nodes[1]
		if n.State != admin.NodeSilent || n.Age == nil || *n.Age != 4 || n.Sessions != 220 || n.Logins != nil {
			t.Errorf("got %+v", n)
		}
		asked := s.asked
		time.Sleep(time.Hour)
		if s.asked != asked {
			t.Error("nodes are asked while nobody looks")
		}
		if b := snapshot(t, h); b.Nodes[0].Logins != nil {
			t.Errorf("a rate over an hour in which nobody looked: %v", *b.Nodes[0].Logins)
		}
		s.view.Members = s.view.Members[:1]
		time.Sleep(2 * time.Second)
		if b := snapshot(t, h); len(b.Nodes) != 1 {
			t.Errorf("a node that was forgotten is shown: %+v", b.Nodes)
		}
	})
}

// Who reads nothing is dropped and the others do not wait for him; there is a last
// place; and a stream goes on beyond the bounds of an answer.
func TestBoardStream(t *testing.T) {
	s := newStage(3, 40)
	address := open(t, s.server().Public(public))
	host := strings.TrimPrefix(address, "http://")
	var idle []net.Conn
	for range 31 {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET "+admin.BoardPath+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	r, err := http.Get(address + admin.BoardPath)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if kind := r.Header.Get("Content-Type"); kind != "text/event-stream" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %q", kind)
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for boards := 0; boards < 2 && lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var b admin.Board
		if err := json.Unmarshal([]byte(data), &b); err != nil || len(b.Backends) != 40 {
			t.Fatalf("got %v, %+v", err, b)
		}
		boards++
	}
	full, err := http.Get(address + admin.BoardPath)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(full.Body)
	full.Body.Close()
	if full.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "look at another node's") {
		t.Errorf("the 33rd gets %d %s", full.StatusCode, text)
	}
	_ = idle[0].Close()
	deadline := time.Now().Add(30 * time.Second)
	for status := 0; status != http.StatusOK; {
		again, err := http.Get(address + admin.BoardPath)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the place of who left is not free: %v", err)
		}
		status = again.StatusCode
		again.Body.Close()
	}
}

// Orders come from the node's own page, at a loopback address, or from no page.
func TestOrdersOfPages(t *testing.T) {
	for _, tt := range []struct {
		origin, site string
		want         int
	}{
		{"", "", http.StatusOK},
		{"http://localhost:8080", "same-origin", http.StatusOK},
		{"http://127.0.0.1:8080", "same-origin", http.StatusOK},
		{"http://[::1]:8080", "same-origin", http.StatusOK},
		{"http://evil.example", "cross-site", http.StatusMisdirectedRequest},
		{"http://evil.example:8080", "same-origin", http.StatusMisdirectedRequest}, // its name leads here now
		{"null", "cross-site", http.StatusForbidden},
		{"", "cross-site", http.StatusForbidden},
	} {
		f := new(fakeFleet)
		r := httptest.NewRequest(http.MethodPost, "http://usher"+admin.BackendStatePath, strings.NewReader(`{"backend":"mail1","state":"drain"}`))
		r.Header.Set("Content-Type", "application/json")
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
			r.Host = strings.TrimPrefix(tt.origin, "http://")
		}
		if tt.site != "" {
			r.Header.Set("Sec-Fetch-Site", tt.site)
		}
		w := httptest.NewRecorder()
		inFleet(t, f).Handler().ServeHTTP(w, r)
		if w.Code != tt.want || (len(f.orders) > 0) != (tt.want == http.StatusOK) {
			t.Errorf("%+v: got %d %s, orders %q", tt, w.Code, w.Body, f.orders)
		}
	}
	if b := snapshot(t, inFleet(t, new(fakeFleet)).Handler()); b.Role != "operate" {
		t.Errorf("who is on the socket may %s", b.Role)
	}
}

// The page itself is the same for all, and lets a browser do nothing else.
func TestPageHeaders(t *testing.T) {
	h := admin.Page()
	for _, path := range []string{"/", "/assets/app.js", "/assets/style.css", "/assets/icon.svg"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://usher"+path, http.NoBody))
		policy := w.Header().Get("Content-Security-Policy")
		if w.Code != http.StatusOK || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: got %d with policy %q", path, w.Code, policy)
		}
		for _, outside := range []string{"http://", "https://"} {
			if text := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/", ""); strings.Contains(text, outside) {
				t.Errorf("%s names another place: %s", path, text)
			}
		}
		again := httptest.NewRequest(http.MethodGet, "http://usher"+path, http.NoBody)
		again.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, again); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s again: got %d", path, w.Code)
		}
	}
	for path, want := range map[string]int{"/assets/": http.StatusNotFound, "/assets/../page.go": http.StatusTemporaryRedirect, "/x": http.StatusNotFound} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://usher"+path, http.NoBody)); w.Code != want && w.Code != http.StatusMovedPermanently {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}

// FuzzPart has a node tell anything: the board of the others stays one, and small.
func FuzzPart(f *testing.F) {
	f.Add(`{"uptime":1,"backends":[{"pool":"main","name":"mail1","connect":[{"le":0.1,"n":3}]}]}`)
	f.Add(`{"uptime":-1e308,"logins":18446744073709551615,"reasons":["\u202e",""]}`)
	f.Add(`{"uptime":1,"backends":[{"pool":"main","name":"mail1","down":1e308,"connect":[{"le":1e308,"n":1000000}]}]}`)
	f.Add(`{"uptime":1,"cpu":1e308}`)
	f.Add(`{"uptime":1,"cpu":-1e308,"backends":[{"pool":"main","name":"mail1","connect":[{"le":-1e308,"n":3}]}]}`)
	f.Add(`{"certificates":[{"names":null,"not_after":"9999-12-31T23:59:59Z"}]}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, told string) {
		if !json.Valid([]byte(told)) {
			t.Skip() // is refused where the answer is read
		}
		s := newStage(2, 2)
		s.raw = map[string]string{"edge-2": told}
		h := s.server().Public(public)
		b := snapshot(t, h)
		if len(b.Nodes) != 2 || len(b.Backends) != 2 || b.Nodes[0].State != admin.NodeReady {
			t.Errorf("got %+v", b)
		}
		text, err := json.Marshal(b)
		if err != nil || len(text) > 1<<18 {
			t.Errorf("%d octets, %v", len(text), err)
		}
	})
}

// A node alone, without what a fleet gives, has a board too.
func TestBoardAlone(t *testing.T) {
	n := newNode(t)
	n.connect(t).login(t, "joe", "good")
	r := httptest.NewRequest(http.MethodGet, "http://usher"+admin.BoardPath, http.NoBody)
	r.Header.Set("Accept", "application/json")
	w := httptest.NewRecorder()
	n.Public(public).ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), "joe") {
		t.Errorf("a user is named: %s", w.Body)
	}
	b := snapshot(t, n.Public(public))
	if b.Totals.Users != 1 || b.Totals.Sessions != 1 || len(b.Nodes) != 1 || len(b.Backends) != 2 || b.Nodes[0].Memory == 0 || b.Nodes[0].Files == 0 {
		t.Errorf("got %+v %+v", b.Totals, b.Nodes)
	}
	if _, err := n.Part(); err != nil {
		t.Error(err)
	}
}
