package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// TestFleetFlippedBits flips a bit in each file of a state directory that a node
// reads at its start, one after the other, after a stop in good order. The node
// either serves, with every pin, or ends with words that name the directory and say
// what to do; when that is done it is one of the fleet again.
func TestFleetFlippedBits(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	f := r.administrator("")
	if err := f.Move(deadlineCtx(t), "main", "pinned", "mail1", "test"); err != nil {
		t.Fatal(err)
	}
	victim := r.follows(f)
	for i, file := range []struct{ name, pattern string }{
		{"the table in the snapshots", "snapshots/*/state.bin"},
		{"what the snapshots say of themselves", "snapshots/*/meta.json"},
		{"the life", "life"},
		{"the id", "id"},
		{"the list of nodes", "peers"},
		{"the log's list of files", "log/wal-meta.db"},
	} {
		victim.stop() // takes a snapshot
		paths, err := filepath.Glob(filepath.Join(victim.state(), file.pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: no such file: %v", file.name, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1 << (i % 7)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		victim.begin()
		if !poll(patience, func() bool {
			select {
			case <-victim.p.done:
				return true
			default:
			}
			status, _ := victim.p.ask("/readyz")
			return status == 200
		}) {
			t.Errorf("%s: neither serves nor ends", file.name)
		}
		select {
		case <-victim.p.done:
			said := victim.p.log.lines("state directory|state_dir")
			if victim.p.err == nil || len(said) == 0 || !strings.Contains(said[len(said)-1], victim.state()) || !strings.Contains(said[len(said)-1], "move") {
				t.Errorf("%s: it ended with %v and says: %s", file.name, victim.p.err, victim.p.log)
			} else {
				t.Logf("%s: refused: %s", file.name, said[len(said)-1])
			}
			victim.p.err = nil                                                                         // as was wanted
			if err := os.Rename(victim.state(), fmt.Sprintf("%s.%d", victim.state(), i)); err != nil { // as it says
				t.Fatal(err)
			}
			victim.begin()
			victim.ready()
		default:
			t.Logf("%s: it serves after %v", file.name, since(began))
		}
		eventually(t, file.name+": it is one of the fleet", func() bool {
			var o cluster.Overview
			victim.asks(admin.FleetPath, nil, &o)
			return o.Quorum && !o.Isolated && o.Pins == 1
		})
		if ok, verdict := victim.tries("pinned"); !ok {
			t.Errorf("%s: %s", file.name, verdict)
		}
		if at := r.last("pinned", i+1); at != "mail1" {
			t.Errorf("%s: the pinned user is at %s", file.name, at)
		}
	}
}
