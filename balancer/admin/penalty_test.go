package admin_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/guard"
)

// Penalties are listed by kind and cleared on all nodes; a question that is not
// understood changes nothing.
func TestPenalties(t *testing.T) {
	n := newNode(t)
	g := guard.New(guard.Options{}, time.Now())
	word := `{"penalties":[{"kind":"address","name":"192.0.2.1/32","weight":20},{"kind":"network","name":"2001:db8::/48","weight":24},{"kind":"user","name":"joe","weight":12}]}`
	if err := g.Learn(time.Now(), []byte(word)); err != nil {
		t.Fatal(err)
	}
	var orders []string
	var absent error
	n.Server = admin.New(admin.Options{Node: n.balancer, Places: n.places, Guard: g, ClearPenalties: func(order []byte) (int, error) {
		orders = append(orders, string(order))
		return 1, absent
	}})
	get := func(target string) string { return n.ask(http.MethodGet, target, "", "").Body.String() }
	for target, want := range map[string][]string{
		admin.PenaltiesPath:                   {`"name":"192.0.2.1"`, `"name":"joe"`, `"total":2`}, // a network has its grace
		admin.PenaltiesPath + "?kind=user":    {`"name":"joe"`, `"total":1`},
		admin.PenaltiesPath + "?kind=pair":    {"there are no penalties of that kind"},
		admin.PenaltiesPath + "?address=1":    {"a parameter is unknown"},
		admin.PenaltiesPath + "?kind=network": {`"penalties":[]`},
	} {
		for _, w := range want {
			if got := get(target); !strings.Contains(got, w) {
				t.Errorf("%s: no %s in %s", target, w, got)
			}
		}
	}
	for _, tt := range []struct {
		body string
		code int
		want string // in the order
	}{
		{`{"address":"192.0.2.1"}`, 200, `"address":"192.0.2.1"`},
		{`{"address":"2001:db8::/48","by":"ann"}`, 200, `"by":"ann"`},
		{`{"user":"joe"}`, 200, `"user":"joe"`},
		{`{"all":true}`, 200, `"all":true`},
		{`{}`, 400, ""},
		{`{"all":true,"user":"joe"}`, 400, ""},
		{`{"address":"everywhere"}`, 400, ""},
		{`{"address":"fe80::1%eth0"}`, 400, ""},
		{`{"user":"` + strings.Repeat("x", 2000) + `"}`, 400, ""},
	} {
		orders = nil
		w := n.ask(http.MethodPost, admin.PenaltyClearPath, "application/json", tt.body)
		if w.Code != tt.code || (len(orders) == 1) != (tt.code == 200) || !strings.Contains(strings.Join(orders, ""), tt.want) {
			t.Errorf("%.60s: %d, orders %q: %s", tt.body, w.Code, orders, w.Body)
		}
	}
	absent = errors.New("node u2: it is away")
	if w := n.ask(http.MethodPost, admin.PenaltyClearPath, "application/json", `{"all":true}`); !strings.Contains(w.Body.String(), `"missing":["node u2: it is away"]`) {
		t.Errorf("an absent node is not told of: %s", w.Body)
	}
	text := n.scrape(t)
	for _, want := range []string{`usher_penalties{kind="address"} 1`, `usher_penalties{kind="user"} 1`, `usher_learnt_penalties_total 3`, `usher_guard_capacity{memory="address"} 65536`, `usher_refused_logins_total{reason="paused"} 0`} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "192.0.2.1") || strings.Contains(text, "joe") {
		t.Error("an address or a user is in the metrics")
	}
}
