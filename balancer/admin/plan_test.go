package admin_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

func (f *fakeFleet) Plan(_ context.Context, r cluster.PlanRequest) (o cluster.Outlook, missing, err error) {
	if f.err != nil {
		return o, nil, f.err
	}
	o = cluster.Outlook{
		Flows: []cluster.Flow{
			{From: r.Backend, To: "mail2", How: cluster.FlowEvacuated, Users: 40, Sessions: 50},
			{From: r.Backend, How: cluster.FlowClosed, Users: 1, Sessions: 2},
			{From: "mail2", To: "mail2", How: cluster.FlowStays, Users: 7, Sessions: 7},
		},
		Keys: map[place.Key]int{1: 1, 2: 1, 3: 1}, KickDelay: time.Second, Rate: 20,
	}
	return o, f.absent, nil
}

func (f *fakeFleet) PlanMove(_ context.Context, pool, user, target string, home bool) (u cluster.UserPlan, missing, err error) {
	return cluster.UserPlan{User: user, To: target}, f.absent, f.err
}

// Orders that are only to be looked at are not given, and what they would be refused for
// they are refused for.
func TestDryRun(t *testing.T) {
	f := new(fakeFleet)
	n := inFleet(t, f)
	for _, tt := range []struct {
		path, body string
		status     int
		want       string
	}{
		{admin.BackendStatePath, `{"backend":"mail1","state":"evacuate","dry_run":true}`, 200, `"users":41,"sessions":52,"users_who_stay":7,"sessions_closed":52,"seconds":3,`},
		{admin.BackendStatePath, `{"backend":"mail1","state":"evacuate","dry_run":true}`, 200, "1 users would have no back end"},
		{admin.BackendStatePath, `{"backend":"mail7","state":"down","dry_run":true}`, 404, "no back end"},
		{admin.BackendStatePath, `{"backend":"mail1","state":"down","dry_run":true,"sample":1001}`, 400, "at most 1000"},
		{admin.BackendStatePath, `{"backend":"mail1","state":"down","sample":3}`, 400, "together with dry_run"},
		{admin.WeightPath, `{"backend":"mail1","weight":3,"dry_run":true}`, 200, `"dry_run":true,"order":"backend mail1: weight 3"`},
		{admin.NodeDrainPath, `{"node":"u7","dry_run":true}`, 404, "u7"},
		{admin.BackendAddPath, `{"backend":"mail3","host":"h","dry_run":true}`, 501, "a witness only votes"},
		{admin.BackendRemovePath, `{"backend":"mail3"}`, 501, "a witness only votes"},
	} {
		w := n.ask(http.MethodPost, tt.path, "application/json", tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.path, tt.body, w.Code, w.Body, tt.status, tt.want)
		}
	}
	if len(f.orders) > 0 {
		t.Errorf("orders were given: %q", f.orders)
	}
	f.err = table.ErrNoBackend
	if w := n.ask(http.MethodPost, admin.WeightPath, "application/json", `{"backend":"mail1","weight":3,"dry_run":true}`); w.Code != 404 {
		t.Errorf("%d %s, want what the order would be told", w.Code, w.Body)
	}
}
