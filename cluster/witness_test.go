package cluster

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// backWithin is for how long the fleet may be without a witness once it serves again:
// an attempt to rejoin, and some time for the word to get about.
const backWithin = rejoinEvery*12/10 + 3*time.Second

// TestWitnessAfterRestart kills all voters at once, before they have noted where a
// witness is, and starts them before it has noticed. It has no vote, and no row in the
// table. It is of the fleet again soon after they are, and was not taken out of the log.
func TestWitnessAfterRestart(t *testing.T) {
	dir := t.TempDir() // is removed last: what is said here to end ends before
	secret := NewSecret()
	voters := []string{"edge-1", "edge-2", "edge-3"}
	options := make(map[string]FleetOptions)
	nodes := make(map[string]*Fleet)
	var forgets atomic.Int64
	start := func(o FleetOptions) *Fleet {
		o.Log = slog.New(counting{testLog(t).Handler(), "a node that was forgotten", &forgets}).With("node", o.Node)
		f, err := OpenFleet(o)
		if err != nil {
			t.Fatal(err)
		}
		if !o.Witness {
			if err := f.Update([]Pool{mainPool(place.Shared, 3)}); err != nil {
				t.Fatal(err)
			}
		}
		nodes[o.Node] = f
		go f.Run(t.Context()) // ends with Abandon
		return f
	}
	abandon := func(names ...string) {
		var ends sync.WaitGroup
		for _, name := range names {
			ends.Go(nodes[name].Abandon)
		}
		ends.Wait()
	}
	all := append(slices.Clone(voters), "witness")
	t.Cleanup(func() { abandon(all...) })
	var join []string
	for _, name := range all {
		o := FleetOptions{
			Fleet: "test", Node: name, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: voters,
			State: filepath.Join(dir, name), KickDelay: 50 * time.Millisecond, Witness: name == "witness",
		}
		o.Bind = start(o).port.advertise.String()
		join = append(join, o.Bind)
		options[name] = o
	}
	witness := nodes["witness"]
	until(t, "the witness to see a leader", func() bool { return witness.Overview().Quorum && len(witness.Status()) > 0 })
	abandon(voters...)
	began := time.Now()
	for _, name := range voters {
		o := options[name]
		o.Join = join[:len(voters)]
		if err := os.Remove(filepath.Join(o.State, peersFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		start(o)
	}
	for _, name := range voters {
		await(t, &sitter{f: nodes[name]})
	}
	t.Logf("the voters serve after %v", time.Since(began))
	began = time.Now()
	until(t, "the witness to be of the fleet again", func() bool {
		for _, name := range voters {
			if _, there := nodes[name].alive()["witness"]; !there {
				return false
			}
		}
		return witness.Overview().Quorum
	})
	took := time.Since(began)
	t.Logf("the witness is back after another %v", took)
	if took > backWithin {
		t.Errorf("the witness is back after another %v, want %v", took, backWithin)
	}
	if n := forgets.Load(); n > 0 {
		t.Errorf("the witness was taken out of the log %d times", n)
	}
}

// TestForgotten: a leader takes no server without a vote for forgotten that the others
// may not have told it of yet; one that votes no more stands in nobody's way for that.
func TestForgotten(t *testing.T) {
	f := &Fleet{o: FleetOptions{Voters: []string{"edge-1"}}, table: table.New(), led: bootTime()}
	w, v := raft.Server{ID: serverID("w", "1"), Suffrage: raft.Nonvoter}, raft.Server{ID: serverID("edge-9", "1"), Suffrage: raft.Voter}
	if f.gone(w, nil) || !f.gone(v, nil) {
		t.Errorf("just elected: one without a vote is gone: %v, one with: %v", f.gone(w, nil), f.gone(v, nil))
	}
	f.led -= int64(forgetAfter)
	if !f.gone(w, nil) || f.gone(w, map[string]peer{"w": {}}) {
		t.Errorf("later: gone %v, and while it is there %v", f.gone(w, nil), f.gone(w, map[string]peer{"w": {}}))
	}
}

// counting counts what is logged with some words.
type counting struct {
	slog.Handler
	words string
	n     *atomic.Int64
}

func (c counting) Enabled(context.Context, slog.Level) bool { return true }

func (c counting) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, c.words) {
		c.n.Add(1)
	}
	return c.Handler.Handle(ctx, r)
}

func (c counting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return counting{c.Handler.WithAttrs(attrs), c.words, c.n}
}

func (c counting) WithGroup(name string) slog.Handler {
	return counting{c.Handler.WithGroup(name), c.words, c.n}
}
