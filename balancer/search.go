package balancer

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// What sessions are sorted by, the greatest first.
const (
	ByAge     = "age"
	ByIdle    = "idle"
	ByTraffic = "traffic" // octets in both directions
)

// MaxFound bounds the sessions that a search returns.
const MaxFound = 10_000

// A Search is which sessions are wanted. Zero values exclude nobody.
type Search struct {
	User    string        `json:"user,omitempty"` // in any spelling
	Pool    string        `json:"pool,omitempty"`
	Backend string        `json:"backend,omitempty"`
	Older   time.Duration `json:"older,omitempty"` // begun at least so long ago; in nanoseconds
	// By is ByAge, ByIdle or ByTraffic. Empty: ByAge.
	By string `json:"by,omitempty"`
	// Most is how many are returned, at most MaxFound. Zero is MaxFound.
	Most int `json:"most,omitempty"`
}

// Known says whether q.By is one of what there is.
func (q Search) Known() bool { return slices.Contains([]string{"", ByAge, ByIdle, ByTraffic}, q.By) }

// Limit is how many sessions are returned at most.
func (q Search) Limit() int {
	if q.Most <= 0 || q.Most > MaxFound {
		return MaxFound
	}
	return q.Most
}

// Compare sorts sessions as the search wants them; equal are only those that are the same.
func (q Search) Compare(a, b SessionInfo) int {
	c := a.Since.Compare(b.Since)
	switch q.By {
	case ByIdle:
		c = -cmp.Compare(a.Idle, b.Idle)
	case ByTraffic:
		c = -cmp.Compare(a.BytesIn+a.BytesOut, b.BytesIn+b.BytesOut)
	}
	return cmp.Or(c, a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
}

func (q Search) wants(i SessionInfo, now time.Time) bool {
	return (q.Pool == "" || i.Pool == q.Pool) && (q.Backend == "" || i.Backend == q.Backend) && now.Sub(i.Since) >= q.Older
}

// Find returns the first of the sessions that are wanted, sorted, and how many there are.
// However many those are, it keeps no more than it returns.
func (srv *Server) Find(q Search) (first []SessionInfo, all int) {
	early, established := srv.everybody()
	if q.User != "" {
		early, established = srv.ofUser(srv.deps.Placer.Normal(q.User))
	}
	now := time.Now()
	top := topped{q: q}
	take := func(i SessionInfo) {
		if !q.wants(i, now) {
			return
		}
		all++
		top.take(i)
	}
	seen := make(map[string]bool) // who is on his way may be seen once more as established
	for _, s := range srv.sessions.all(early) {
		if i, ok := s.shown(); ok {
			seen[i.ID] = true
			take(i)
		}
	}
	established(func(_ uint64, e *entry, user string) {
		if i := e.info(user); !seen[i.ID] {
			take(i)
		}
	})
	slices.SortFunc(top.list, q.Compare)
	return top.list, all
}

// topped is a heap of the first ones, the last of them on top.
type topped struct {
	q    Search
	list []SessionInfo
}

func (t *topped) take(i SessionInfo) {
	switch {
	case len(t.list) < t.q.Limit():
		heap.Push(t, i)
	case t.q.Compare(i, t.list[0]) < 0:
		t.list[0] = i
		heap.Fix(t, 0)
	}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (t *topped) Len() int           { return len(t.list) }
func (t *topped) Less(i, j int) bool { return t.q.Compare(t.list[i], t.list[j]) > 0 }
func (t *topped) Swap(i, j int)      { t.list[i], t.list[j] = t.list[j], t.list[i] }
func (t *topped) Push(x any)         { t.list = append(t.list, x.(SessionInfo)) }
func (t *topped) Pop() any {
	last := t.list[len(t.list)-1]
	t.list = t.list[:len(t.list)-1]
	return last
}
