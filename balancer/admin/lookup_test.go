package admin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"usher.example/balancer/admin"
)

// Many users are asked about at once, in the order of the question.
func TestLookup(t *testing.T) {
	n := newNode(t)
	ask := func(q admin.Lookup) (int, string) {
		b, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		w := n.ask(http.MethodPost, admin.LookupPath, "application/json", string(b))
		return w.Code, w.Body.String()
	}
	status, text := ask(admin.Lookup{Users: []string{"joe", "ann", "joe"}})
	if status != http.StatusOK {
		t.Fatalf("got %d: %s", status, text)
	}
	got := decode[admin.Lookups](t, text).Users
	if len(got) != 3 || got[0].User != "joe" || got[1].User != "ann" || got[2] != got[0] || got[1].Place != "mail1" {
		t.Errorf("got %+v", got)
	}
	long := strings.Repeat("\x01", 512)
	full := make([]string, admin.MaxLookup)
	for i := range full {
		full[i] = long
	}
	if status, text := ask(admin.Lookup{Users: full}); status != http.StatusOK {
		t.Errorf("the most and the longest: got %d: %s", status, text)
	}
	for name, tt := range map[string]struct {
		q      admin.Lookup
		status int
		want   string
	}{
		"too many":   {admin.Lookup{Users: append(full, "joe")}, http.StatusBadRequest, "ask again"},
		"no name":    {admin.Lookup{Users: []string{""}}, http.StatusBadRequest, "missing"},
		"other pool": {admin.Lookup{Pool: "x", Users: []string{"joe"}}, http.StatusNotFound, "there are: main"},
	} {
		if status, text := ask(tt.q); status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: got %d %s, want %d and %q", name, status, text, tt.status, tt.want)
		}
	}
}
