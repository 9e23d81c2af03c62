package cluster

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"usher.example/cluster/lead"
	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// keysOf waits until a node has so many keys of tickets, and returns them.
func keysOf(t *testing.T, s *sitter, n int) []TicketKey {
	t.Helper()
	var keys []TicketKey
	until(t, "keys of tickets", func() bool {
		keys, _ = s.f.TicketKeys()
		return len(keys) == n
	})
	return keys
}

// wantClear wants no key, in clear or in base64, in any file below a directory.
func wantClear(t *testing.T, dir string, keys ...TicketKey) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		for _, k := range keys {
			clear := bytes.Contains(b, k[:])
			for i := range 3 { // wherever it begins in what is encoded
				clear = clear || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString(k[i:i+27])))
			}
			if clear {
				t.Errorf("%s has a key in clear", path)
			}
		}
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files in %s: %v", files, dir, err)
	}
}

// A node alone has keys, and after a restart those of before; without a directory it
// has others.
func TestTicketsAlone(t *testing.T) {
	for _, dir := range []string{t.TempDir(), ""} {
		o := FleetOptions{Node: "a", State: dir}
		s, end := startNode(t, o, mainPool(place.Shared, 1))
		first := keysOf(t, s, 2)
		_, changed := s.f.TicketKeys()
		if err := s.f.RotateTickets(false); err != nil {
			t.Fatal(err)
		}
		<-changed
		second := keysOf(t, s, 3)
		if second[2] != first[0] || slices.Contains(second, first[1]) {
			t.Error("the key in use opens nothing any more, or one that was to come is still there")
		}
		if err := s.f.RotateTickets(true); err != nil {
			t.Fatal(err)
		}
		last := keysOf(t, s, 2)
		if slices.Contains(second, last[0]) || slices.Contains(second, last[1]) {
			t.Error("a key that was given up is still there")
		}
		end()
		if dir != "" {
			wantClear(t, dir, slices.Concat(first, second, last)...)
		}
		s, end = startNode(t, o, mainPool(place.Shared, 1))
		if again := keysOf(t, s, 2); slices.Equal(again, last) != (dir != "") {
			t.Errorf("directory %q: keys after the restart", dir)
		}
		end()
	}
}

// A node that was alone and begins a fleet brings its keys along, under the fleet's
// secret from then on.
func TestTicketsOfAFounder(t *testing.T) {
	o := FleetOptions{Node: "a", State: t.TempDir()}
	s, end := startNode(t, o, mainPool(place.Shared, 1))
	alone := keysOf(t, s, 2)
	end()
	o.Fleet, o.Secrets, o.Bind, o.Voters = "test", []Secret{NewSecret()}, "127.0.0.1:0", []string{"a"}
	s, end = startNode(t, o, mainPool(place.Shared, 1))
	defer end()
	if keys := keysOf(t, s, 2); !slices.Equal(keys, alone) {
		t.Error("the founder has other keys")
	}
	until(t, "they are sealed with the fleet's secret", func() bool {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		_, fresh, err := open(o.Secrets, aboutTicket(1), s.f.table.Tickets.Keys[0].Sealed)
		return err == nil && fresh
	})
}

// Who has lost the secret that he sealed with serves nevertheless, and says so.
func TestTicketsWithoutTheirSecret(t *testing.T) {
	o := FleetOptions{Node: "a", State: t.TempDir()}
	s, end := startNode(t, o, mainPool(place.Shared, 1))
	before := keysOf(t, s, 2)
	end()
	path := filepath.Join(o.State, sealerFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	log := new(lines)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	s, end = startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	until(t, "a word of it", func() bool { return len(log.find("this node's own keys")) == 1 })
	own := keysOf(t, s, 1)
	if again := keysOf(t, s, 1); slices.Contains(before, own[0]) || again[0] != own[0] {
		t.Error("the key of its own is one of before, or another each time")
	}
	until(t, "new keys", func() bool { return s.f.RotateTickets(false) == nil })
	if keys := keysOf(t, s, 2); slices.Contains(keys, own[0]) {
		t.Error("it keeps its own key")
	}
	end()
}

// Who cannot open the key that seals gives up those of before nevertheless.
func TestTicketsAreDroppedUnopened(t *testing.T) {
	ours, theirs := NewSecret(), NewSecret()
	f := &Fleet{table: table.New(), dir: &directory{}, log: testLog(t)}
	turn := func(drop bool) {
		t.Helper()
		if err := f.table.Apply(lead.NewTickets(f.table.Tickets, f.newTicket, 1, lead.TicketEvery, drop), 1); err != nil {
			t.Fatal(err)
		}
	}
	f.secrets.Store(&[]Secret{ours})
	turn(false)
	before, _ := f.TicketKeys()
	f.secrets.Store(&[]Secret{theirs})
	turn(true)
	f.secrets.Store(&[]Secret{ours})
	after, _ := f.TicketKeys()
	if len(before) != 2 || len(after) != 1 || slices.Contains(before, after[0]) || after[0] == (TicketKey{}) {
		t.Errorf("%d keys, of which the first is of before: %t", len(after), len(after) > 0 && slices.Contains(before, after[0]))
	}
}

// Three nodes have the same keys, also after an order by any of them, while their
// secret is exchanged, and after a restart of all.
func TestTicketsOfThree(t *testing.T) {
	old, next := NewSecret(), NewSecret()
	nodes := trio(t, func(o *FleetOptions) { o.Secrets = []Secret{old} })
	same := func(what string, n int) []TicketKey {
		t.Helper()
		keys := keysOf(t, nodes[0], n)
		for _, s := range nodes[1:] {
			until(t, "the same keys "+what, func() bool {
				other, _ := s.f.TicketKeys()
				return slices.Equal(other, keys)
			})
		}
		return keys
	}
	first := same("at first", 2)
	for i, s := range nodes {
		if err := s.f.RotateTickets(i == 2); err != nil {
			t.Fatal(err)
		}
	}
	now := same("after three orders", 2)
	if slices.Contains(now, first[0]) {
		t.Error("a key that was given up is still there")
	}

	for _, step := range [][]Secret{{old, next}, {next, old}} {
		for _, s := range nodes {
			until(t, "the secret is taken", func() bool { return s.f.SetSecrets(step) == nil })
		}
	}
	until(t, "the keys are sealed anew", func() bool {
		f := nodes[0].f
		f.mu.Lock()
		defer f.mu.Unlock()
		return !slices.ContainsFunc(f.table.Tickets.Keys, func(k table.Ticket) bool {
			_, fresh, err := f.openTicket(k)
			return err != nil || !fresh
		})
	})
	for _, s := range nodes {
		until(t, "the old secret is given up", func() bool { return s.f.SetSecrets([]Secret{next}) == nil })
	}
	if !slices.Equal(same("by the new secret", 2), now) {
		t.Error("another secret makes other keys")
	}
}

// What was found of the keys holds until they or the secrets are others, and no longer.
func TestTicketSight(t *testing.T) {
	ours, theirs := NewSecret(), NewSecret()
	f := &Fleet{table: table.New(), dir: &directory{}, log: testLog(t)}
	f.secrets.Store(&[]Secret{ours})
	if err := f.table.Apply(lead.NewTickets(f.table.Tickets, f.newTicket, 1, lead.TicketEvery, false), 1); err != nil {
		t.Fatal(err)
	}
	look := func(what string, stale, closed bool) {
		t.Helper()
		if s := f.sightTickets(); s.stale != stale || (s.closed != nil) != closed {
			t.Errorf("%s: stale %t, want %t; closed %v, want %t", what, s.stale, stale, s.closed, closed)
		}
		f.tickets.seen.stale = !stale
		for _, k := range f.table.Tickets.Keys {
			if k.Epoch == f.table.Tickets.Epoch && f.opensTicket(k) == closed {
				t.Errorf("%s: epoch %d is said to open: %t", what, k.Epoch, !closed)
			}
			f.tickets.seen.opens[k.Epoch] = !f.tickets.seen.opens[k.Epoch]
			if f.opensTicket(k) != f.tickets.seen.opens[k.Epoch] {
				t.Errorf("%s: epoch %d is opened again", what, k.Epoch)
			}
			f.tickets.seen.opens[k.Epoch] = !f.tickets.seen.opens[k.Epoch]
		}
		if s := f.sightTickets(); s.stale == stale {
			t.Errorf("%s: looked at again", what)
		}
		f.tickets.seen.stale = stale
	}
	look("as they were made", false, false)
	f.secrets.Store(&[]Secret{theirs})
	look("by a secret that opens nothing", false, true)
	f.secrets.Store(&[]Secret{theirs, ours})
	look("sealed with the second secret", true, false)
	if err := f.table.Apply(f.resealedTickets(), 2); err != nil {
		t.Fatal(err)
	}
	look("sealed anew", false, false)
	f.own.key.Store(&[]Secret{NewSecret()})
	look("with a key of its own besides", false, false)
	f.table.Tickets.Keys[1].Sealed = f.newTicket(f.table.Tickets.Keys[0].Epoch) // of another epoch
	f.table.Tickets.Epoch = f.table.Tickets.Keys[1].Epoch
	look("another key", false, true)
}

// A secret that still seals keys of tickets cannot be given up.
func TestTicketsHoldTheirSecret(t *testing.T) {
	old, next := NewSecret(), NewSecret()
	f := &Fleet{table: table.New(), dir: &directory{}}
	f.secrets.Store(&[]Secret{old})
	if err := f.table.Apply(table.Turn{To: 1, Keys: []table.Ticket{
		{Epoch: 1, Sealed: f.newTicket(1)}, {Epoch: 2, Sealed: f.newTicket(2)},
	}}, 1); err != nil {
		t.Fatal(err)
	}
	if !f.losesTickets([]Secret{old}, []Secret{next}) || f.losesTickets([]Secret{old, next}, []Secret{next, old}) || f.losesTickets([]Secret{next}, []Secret{next}) {
		t.Error("which keys are lost")
	}
	if _, _, err := f.openTicket(table.Ticket{Epoch: 2, Sealed: f.table.Tickets.Keys[0].Sealed}); err == nil {
		t.Error("the key of one epoch is taken for another's")
	}
}
