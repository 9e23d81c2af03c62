package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"usher.example/balancer/admin"
)

// fakeAdditions has definitions, and notes what is removed.
type fakeAdditions struct {
	list    []admin.Addition
	removed []string
}

// Additions misses a node, which is no matter to who looks for a definition.
func (f *fakeAdditions) Additions(context.Context) ([]admin.Addition, error) {
	return f.list, errors.New("u2 does not answer")
}
func (f *fakeAdditions) TryAdd(context.Context, admin.BackendAdd) error       { return nil }
func (f *fakeAdditions) Add(context.Context, admin.BackendAdd) error          { return nil }
func (f *fakeAdditions) TryRemove(context.Context, admin.BackendRemove) error { return nil }
func (f *fakeAdditions) Remove(_ context.Context, o admin.BackendRemove) error {
	f.removed = append(f.removed, o.Pool+"/"+o.Backend)
	return nil
}

// TestRemoveFindsThePool: who removes what an addition has left half done need not say
// the pool, although no node has that back end.
func TestRemoveFindsThePool(t *testing.T) {
	for _, tt := range []struct {
		backend string
		code    int
		want    string // what is removed, or is said
	}{
		{"mail3", http.StatusOK, "main/mail3"},
		{"mail9", http.StatusOK, "main/mail9"}, // it lingers
		{"lost", http.StatusOK, "none/lost"},
		{"twice", http.StatusBadRequest, "in several pools"},
		{"both", http.StatusBadRequest, "in several pools"},
		{"nobody", http.StatusOK, "main/nobody"}, // there is one pool: who keeps them says that there is none
	} {
		f := &fakeAdditions{list: []admin.Addition{
			{Pool: "main", Backend: "mail3"},
			{Pool: "main", Backend: "mail9"},
			{Pool: "none", Backend: "lost"},
			{Pool: "a", Backend: "twice"},
			{Pool: "b", Backend: "twice"},
		}}
		n := newNode(t)
		n.Server = admin.New(admin.Options{Node: n.balancer, Places: n.places, Fleet: new(fakeFleet), Additions: f})
		w := n.ask(http.MethodPost, admin.BackendRemovePath, "application/json", `{"backend":"`+tt.backend+`","force":true}`)
		code, answer := w.Code, w.Body.String()
		if got := strings.Join(f.removed, " "); code != tt.code || code == http.StatusOK && got != tt.want || code != http.StatusOK && !strings.Contains(answer, tt.want) {
			t.Errorf("%s: %d, removed %q, want %d and %q: %s", tt.backend, code, got, tt.code, tt.want, answer)
		}
	}
}
