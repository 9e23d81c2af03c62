package admin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"usher.example/balancer/admin"
	"usher.example/health"
)

// TestCheckup asks at both places for the numbers of a node in a fleet that is not well.
func TestCheckup(t *testing.T) {
	n := newNode(t)
	s := admin.New(admin.Options{
		Node: n.balancer, Places: n.places, Fleet: new(fakeFleet), Keeper: dated{}, Version: "1.2.3",
		Verdict: func() health.Verdict {
			return health.Verdict{State: health.StateDegraded, Reasons: []health.Reason{{Code: health.Isolated, Text: "isolated"}}}
		},
	})
	for name, h := range map[string]http.Handler{"socket": s.Handler(), "public": s.Public(http.NotFoundHandler())} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://usher"+admin.CheckupPath, http.NoBody))
		var got admin.Checkup
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v in %s", name, err, w.Body)
		}
		if got.State != health.StateDegraded || got.Reasons[0].Code != health.Isolated || got.Backends != 2 || len(got.Down) != 0 {
			t.Errorf("%s: got %+v", name, got)
		}
		if f := got.Fleet; f == nil || f.Nodes != 2 || f.Alive != 1 || f.Quorum || len(f.Missing) != 2 {
			t.Errorf("%s: the fleet is %+v", name, got.Fleet)
		}
		if got.Certificate == nil || got.Certificate.NotAfter.IsZero() || got.Problems == 0 {
			t.Errorf("%s: certificates: %+v, %d problems", name, got.Certificate, got.Problems)
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://usher"+admin.CheckupPath, http.NoBody))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: a POST is answered %d", name, w.Code)
		}
	}
	w := httptest.NewRecorder()
	s.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://usher/metrics", http.NoBody))
	for _, want := range []string{
		`usher_state{state="degraded"} 1`, `usher_reason{code="isolated"} 1`,
		`usher_fleet_members{state="alive"} 1`, `usher_fleet_members{state="absent"} 1`, `usher_fleet_missing_voters 2`,
		`usher_fleet_quorum 0`, `usher_fleet_leader 0`, `usher_fleet_lease_seconds 5`, `usher_fleet_view_changes_total 7`,
		`usher_fleet_held_logins_total 3`, `usher_fleet_isolations_total 2`, `usher_fleet_differing_nodes 1`,
	} {
		if !strings.Contains(w.Body.String(), "\n"+want+"\n") {
			t.Errorf("no %q", want)
		}
	}
}
