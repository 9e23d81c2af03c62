package admin_test

import (
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"usher.example/balancer/admin"
)

// TestRoles asks every route there is as everybody there can be.
func TestRoles(t *testing.T) {
	n := newNode(t)
	s := n.whole(new(fakeFleet), nil)
	rank := map[admin.Role]int{"": 9, admin.RoleRead: 1, admin.RoleOperate: 2, admin.RoleSocket: 3}
	for _, r := range s.Routes() {
		if r.Role == "" {
			t.Errorf("%s %s: nobody has said in role.go who may use it", r.Method, r.Path)
		}
		say := spoken[r.Path]
		kind := ""
		if say.order != nil {
			kind = "application/json"
		}
		for role, who := range map[admin.Role]http.Handler{
			"none":            s.As("eve", "none"),
			admin.RoleRead:    s.As("ann", admin.RoleRead),
			admin.RoleOperate: s.As("bob", admin.RoleOperate),
			admin.RoleSocket:  s.Handler(),
		} {
			w := askOf(who, r.Method, r.Path+say.query, kind, say.body)
			want := http.StatusForbidden
			if rank[role] >= rank[r.Role] {
				want = http.StatusOK
			}
			if w.Code != want {
				t.Errorf("%s as %s: got %d, want %d: %s", r.Path, role, w.Code, want, w.Body)
			}
			if needs := string(r.Role); w.Code == http.StatusForbidden && needs == "operate" && !strings.Contains(w.Body.String(), needs) {
				t.Errorf("%s as %s: the refusal does not say which role is needed: %s", r.Path, role, w.Body)
			}
		}
	}
}

// TestOrdersAreSigned: nobody who comes over TCP gives an order in another's name.
func TestOrdersAreSigned(t *testing.T) {
	n := newNode(t)
	for path, say := range spoken {
		body, claims := strings.CutSuffix(say.body, "}")
		if say.order == nil {
			continue
		}
		var log strings.Builder
		f := new(fakeFleet)
		s := n.whole(f, slog.New(slog.NewTextHandler(&log, nil)))
		if _, ok := reflect.TypeOf(say.order).FieldByName("By"); ok {
			if len(body) > 1 {
				body += ","
			}
			body += `"by":"ceo"`
		}
		w := askOf(s.As("bob", admin.RoleOperate), http.MethodPost, path, "application/json", body+"}")
		if path == admin.CertificateImportPath {
			continue // never over TCP
		}
		if !claims || w.Code != http.StatusOK {
			t.Errorf("%s: got %d: %s", path, w.Code, w.Body)
		}
		if path != admin.LookupPath && !strings.Contains(log.String(), "by=bob") {
			t.Errorf("%s: the log does not say who it was: %s", path, log.String())
		}
		if all := log.String() + strings.Join(f.orders, "\n"); strings.Contains(all, "ceo") {
			t.Errorf("%s: he has given it in another's name: %s", path, all)
		}
	}
}

// TestWhoami says the same as what is let in.
func TestWhoami(t *testing.T) {
	n := newNode(t)
	for _, tt := range []struct {
		h    http.Handler
		want string
		may  string
		not  string
	}{
		{n.As("ann", admin.RoleRead), `{"name":"ann","role":"read","via":"token","users":false,"orders":false,"keys":false,`, "GET /v1/status", "POST /v1/kick"},
		{n.As("bob", admin.RoleOperate), `{"name":"bob","role":"operate","via":"token","users":true,"orders":true,"keys":false,`, "POST /v1/kick", "POST /v1/certificate/import"},
		{n.Handler(), `"role":"socket","via":"socket","users":true,"orders":true,"keys":false,`, "POST /v1/certificate/import", "DELETE"},
	} {
		body := askOf(tt.h, http.MethodGet, admin.WhoamiPath, "", "").Body.String()
		if !strings.Contains(body, tt.want) || !strings.Contains(body, `"`+tt.may+`"`) || strings.Contains(body, tt.not) {
			t.Errorf("got %s\nwant %s, with %s, without %s", body, tt.want, tt.may, tt.not)
		}
	}
}
