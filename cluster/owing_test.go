package cluster

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// Who is waited for is told: at once to who asks, and in the log when it takes long.
func TestOwingIsTold(t *testing.T) {
	lines := make(tape, 1<<16)
	nodes := trio(t, func(o *FleetOptions) { o.Log = slog.New(lines) })
	for _, s := range nodes {
		await(t, s)
	}
	victim, slow := nodes[1], make(chan struct{})
	victim.mu.Lock()
	victim.slow = slow
	victim.mu.Unlock()
	from, _ := victim.login(t, "joe")
	to := map[string]string{"store1": "store2", "store2": "store3", "store3": "store1"}[from]
	moved := make(chan error, 1)
	go func() { moved <- nodes[0].f.Move(t.Context(), "main", "joe", to, "test") }()

	owing := func() (list []string) {
		for _, m := range nodes[2].f.Overview().Members {
			if len(m.Owes) > 0 {
				list = append(list, m.Node+": "+strings.Join(m.Owes, ", "))
			}
		}
		return list
	}
	want := []string{"edge-2: its part of a move"}
	until(t, "the node to be named as the one that is waited for", func() bool { return slices.Equal(owing(), want) })
	told := ""
	lines.await(t, "the fleet waits for nodes").Attrs(func(a slog.Attr) bool { told += a.String(); return true })
	if told != "owing="+want[0] {
		t.Errorf("the log names %q, want %q", told, want[0])
	}
	close(slow)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	until(t, "nobody to be waited for", func() bool { return len(owing()) == 0 })
}
