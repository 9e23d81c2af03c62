package balancer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Of many sessions the first ones are kept, in order, and no more.
func TestTopped(t *testing.T) {
	now := time.Now()
	var all []SessionInfo
	for i := range 500 {
		all = append(all, SessionInfo{ID: fmt.Sprintf("s%03d", i), Since: now.Add(-time.Duration(rand.IntN(50)) * time.Minute), Idle: float64(rand.IntN(9)), BytesIn: uint64(rand.IntN(20))})
	}
	for _, by := range []string{"", ByAge, ByIdle, ByTraffic} {
		q := Search{By: by, Most: 7}
		top := topped{q: q}
		for _, i := range all {
			top.take(i)
			if len(top.list) > q.Most {
				t.Fatalf("%d are kept", len(top.list))
			}
		}
		slices.SortFunc(top.list, q.Compare)
		want := slices.Clone(all)
		slices.SortFunc(want, q.Compare)
		if !slices.Equal(top.list, want[:q.Most]) {
			t.Errorf("by %q: %v\nwant %v", by, top.list, want[:q.Most])
		}
		if by == ByIdle && top.list[0].Idle < top.list[6].Idle || by == ByAge && top.list[0].Since.After(top.list[6].Since) {
			t.Errorf("by %q the least come first", by)
		}
	}
	if (Search{By: "name"}).Known() || (Search{Most: MaxFound + 1}).Limit() != MaxFound || (Search{}).Limit() != MaxFound {
		t.Error("a search without bounds")
	}
	old := SessionInfo{Pool: "main", Backend: "mail1", Since: now.Add(-time.Hour)}
	for _, tt := range []struct {
		q    Search
		want bool
	}{
		{Search{}, true},
		{Search{Pool: "main", Backend: "mail1", Older: time.Hour}, true},
		{Search{Pool: "other"}, false},
		{Search{Backend: "mail2"}, false},
		{Search{Older: time.Hour + 1}, false},
	} {
		if got := tt.q.wants(old, now); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
}
