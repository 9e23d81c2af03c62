package cluster

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// moveWithoutNode is how long a move may take that a node does not do its part of.
const moveWithoutNode = 25 * time.Second

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// find returns the lines with a text in them.
func (l *lines) find(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// TestStuckSession has a node of three that cannot close the session of a user who
// is moved: it reports and answers, but the session goes on. It is named, loses its
// lease and does not get one before the move is done without it; a second order is
// told of the first; and when the session has ended after all the node is one of
// the fleet again.
func TestStuckSession(t *testing.T) {
	t.Parallel()
	secret := NewSecret()
	names := []string{"edge-1", "edge-2", "edge-3"}
	var nodes []*sitter
	var logs []*lines
	var join []string
	for _, name := range names {
		log := new(lines)
		s := openNode(t, FleetOptions{
			Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: names,
			State: filepath.Join(t.TempDir(), name), KickDelay: 200 * time.Millisecond, Strict: true,
			Log: slog.New(slog.NewTextHandler(log, nil)),
		}, mainPool(place.Shared, 3))
		join = append(join, s.f.port.advertise.String())
		nodes, logs = append(nodes, s), append(logs, log)
	}
	for _, s := range nodes {
		await(t, s)
	}
	var stuck, other *sitter
	for _, s := range nodes {
		if o := nodes[0].f.Overview(); o.Leader != s.f.o.Node {
			stuck = s
		} else {
			other = s
		}
	}
	for _, s := range nodes {
		s.login(t, "joe")
		s.login(t, "ann")
	}
	where, err := other.f.Where("main", "joe")
	if err != nil {
		t.Fatal(err)
	}
	target := map[bool]string{true: "store2", false: "store1"}[where.Place == "store1"]
	release := make(chan struct{})
	stuck.mu.Lock()
	stuck.slow = release
	stuck.mu.Unlock()

	began := time.Now()
	moved := make(chan error, 1)
	go func() { moved <- other.f.Move(t.Context(), "main", "joe", target, "one") }()
	until(t, "the move to be known", func() bool { return other.f.Overview().Moves == 1 })
	if err := other.f.Move(t.Context(), "main", "joe", where.Place, "two"); !errors.Is(err, table.ErrMoving) || !strings.Contains(err.Error(), "one") {
		t.Errorf("a second order: %v, want %v by one", err, table.ErrMoving)
	}
	owes := func(s *sitter) []string {
		for _, m := range s.f.Overview().Members {
			if m.Node == stuck.f.o.Node {
				return m.Owes
			}
		}
		return nil
	}
	until(t, "the leader to name the node", func() bool { return len(owes(other)) == 1 && strings.Contains(owes(other)[0], "move 1") })
	t.Logf("named by the leader after %v: %q", time.Since(began), owes(other))
	var said []string
	until(t, "the leader's log to name it", func() bool {
		said = logs[slices.Index(nodes, other)].find("a node does not do what others wait for")
		return len(said) > 0
	})
	if !strings.Contains(said[0], "peer="+stuck.f.o.Node+" ") || !strings.Contains(said[0], "move 1") {
		t.Errorf("the leader's log: %q, want %s to be named", said, stuck.f.o.Node)
	}
	until(t, "the node to lose its lease", func() bool { return stuck.f.Overview().Isolated })
	t.Logf("without a lease after %v", time.Since(began))
	select {
	case err := <-moved:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the move does not end")
	}
	took := time.Since(began)
	t.Logf("moved without the node after %v", took)
	if took > moveWithoutNode {
		t.Errorf("the move took %v, want %v", took, moveWithoutNode)
	}
	if b, why := other.login(t, "joe"); b != target || why != place.ByPin {
		t.Errorf("%s by %s, want %s", b, why, target)
	}
	if _, _, _, err := stuck.f.Place(t.Context(), "main", "ann"); !errors.Is(err, ErrIsolated) {
		t.Errorf("the node without a lease: %v, want %v", err, ErrIsolated)
	}
	if said := logs[slices.Index(nodes, other)].find("a node does not do what others wait for"); len(said) != 1 {
		t.Errorf("the leader's log: %q, want one line", said)
	}
	close(release) // the session ends after all
	began = time.Now()
	until(t, "the node to have a lease again", func() bool { return !stuck.f.Overview().Isolated })
	t.Logf("it has a lease again %v after the session ended", time.Since(began))
	if got := owes(other); len(got) != 0 {
		t.Errorf("it still owes %q", got)
	}
	if b, _ := stuck.login(t, "joe"); b != target {
		t.Errorf("joe is at %s, want %s", b, target)
	}
}
