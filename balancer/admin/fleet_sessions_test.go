package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"usher.example/balancer/admin"
)

// A search that is not understood is refused with what there is.
func TestFleetSessionsRefusals(t *testing.T) {
	n := inFleet(t, new(fakeFleet))
	for query, want := range map[string]string{
		"older=yesterday": "older is no duration", "older=-1s": "older is no duration", "most=0": "from 1 to 10000", "most=10001": "from 1 to 10000",
		"most=x": "from 1 to 10000", "by=name": "by=traffic", "backend=": "missing", "shoe=9": "unknown", "by=age&by=age": "twice",
		"user=" + strings.Repeat("a", 513): "none has more than 512",
	} {
		w := n.ask(http.MethodGet, admin.FleetSessionsPath+"?"+query, "", "")
		if w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", query, w.Code, w.Body, want)
		}
	}
	if w := n.ask(http.MethodGet, admin.FleetSessionsPath+"?node=u9", "", ""); w.Code != 404 {
		t.Errorf("%d %s, want that there is no such node", w.Code, w.Body)
	}
	if got := get[admin.FoundSessions](t, n, admin.FleetSessionsPath+"?by=traffic&most=3"); got.All != 0 || len(got.Nodes) != 1 || got.Sessions == nil {
		t.Errorf("got %+v", got)
	}
}
