package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// Pins of a file come into force as a list, with a change of their pool's view: who is
// live stays where he is until he is gone. The leader brings it, by its own file. What
// is new it brings at once. Who is in the file no more is unpinned only when all nodes
// that are there have the same pins: one to which the file was not copied yet, or that
// has an old one, unpins nobody. What an administrator has set holds in any case.

const (
	// pinsDiffer is for how long files may differ before it is worth a warning: they
	// are copied and read one after the other.
	pinsDiffer = time.Minute
	// noPins is the mark of a list without pins, where there was one before.
	noPins = "-"
	// added follows the mark of a list that unpins nobody.
	added = "+"
)

// filed are the pins of this node's files.
type filed struct {
	marks map[string]string // by pool; empty without pins
	again bool              // were read again: an administrator may have let go of some
	other time.Time         // since when files differ; zero: they do not
	told  bool              // of that
	said  time.Time         // when it was last said that they cannot be brought; of who brings them
}

// file notes what the files have. It is called with mu held.
func (f *Fleet) file(marks map[string]string) {
	f.filed.marks, f.filed.again = marks, true
	h := sha256.New()
	for _, pool := range sortedKeys(marks) {
		_, _ = io.WriteString(h, pool+" "+marks[pool]+"\n")
	}
	mark := hex.EncodeToString(h.Sum(nil)[:4])
	f.pinsMark.Store(&mark)
	f.pins()
	if f.leader != nil {
		f.leader.Expect(marks)
	}
}

// MarkPins is a short name of pins by which files are compared; none has none. For a
// million it takes a second.
func MarkPins(pins Pins) string {
	if len(pins) == 0 {
		return ""
	}
	h := sha256.New()
	for _, user := range sortedKeys(pins) {
		_, _ = io.WriteString(h, user+" "+pins[user]+"\n")
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// pins has what follows from files and from those of others looked at.
func (f *Fleet) pins() {
	select {
	case f.pinning <- struct{}{}:
	default:
	}
}

// keepPins brings lists, which takes its time: the manager must not wait for that.
func (f *Fleet) keepPins() {
	told := ""
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.pinning:
		}
		if mark := f.pinsMark.Load(); mark != nil {
			if now := *mark + " " + f.stamped.Load().id; now != told {
				told = now
				f.tell()
			}
		}
		f.stage()
	}
}

// stage brings the pins of the leader's files into the table. It may wait.
func (f *Fleet) stage() {
	alive := f.alive() // not under the lock
	f.mu.Lock()
	if f.leader == nil || f.o.Witness || f.pools == nil || f.keyer.Load() == nil {
		f.mu.Unlock()
		return
	}
	term, k, mine := f.leader.Term(), f.keyer.Load(), *f.pinsMark.Load()
	var others []string
	for _, name := range sortedKeys(alive) {
		if p := alive[name]; name != f.o.Node && !p.Witness && p.Pins != mine {
			others = append(others, name)
		}
	}
	tell := f.filed.differ(len(others) > 0, time.Now())
	type work struct {
		pool  Pool
		mark  string
		again bool
	}
	var todo []work
	later := false
	for _, p := range f.pools {
		if mark := f.unstaged(p.Name, len(others) == 0); mark != "" {
			todo = append(todo, work{pool: p, mark: mark})
		} else if t := f.table.Pools[p.Name]; t != nil && f.filed.again && len(p.Pins) > 0 && t.Mark != "" {
			if onItsWay(t) {
				later = true
				continue
			}
			todo = append(todo, work{p, t.Mark, true})
		}
	}
	f.filed.again = later
	f.mu.Unlock()
	if tell {
		f.log.Warn("pins files differ from this node's: nobody is unpinned before they are the same", "event", "pins_differ", "peers", strings.Join(others, " "))
	}
	for _, w := range todo {
		if err := f.bring(term, k, w.pool, w.mark, len(others) == 0, w.again); err != nil {
			f.mu.Lock()
			f.filed.again = f.filed.again || w.again
			f.mu.Unlock()
			if f.ctx.Err() == nil && time.Since(f.filed.said) >= pinsDiffer {
				f.filed.said = time.Now()
				f.log.Warn("pins of a file are not in force yet; they are brought again", "event", "pins_late", "pool", w.pool.Name, "err", err)
			}
		}
	}
}

// unstaged is the mark of the list that has to be brought for a pool, empty if none.
// It is called with mu held.
func (f *Fleet) unstaged(pool string, agreed bool) string {
	p := f.table.Pools[pool]
	if p == nil || len(p.Backends) == 0 {
		return "" // a pool that is empty is made anew with each change
	}
	want := f.filed.marks[pool]
	if want == "" {
		if p.Mark == "" {
			return ""
		}
		want = noPins
	}
	mark := want
	if !agreed {
		mark += added
	}
	if p.Mark == want || p.Mark == mark || onItsWay(p) {
		return ""
	}
	return mark
}

// onItsWay says whether a list is about to change what another one is compared with.
func onItsWay(p *table.Pool) bool {
	return p.List != nil && p.List.Whole || p.Next != nil && p.Next.List != nil
}

// inFile says whether the pins of a pool's file are in force, but for those that are
// to be taken away. It is called with mu held.
func (f *Fleet) inFile(p *table.Pool) bool {
	want := f.filed.marks[p.Name]
	is := strings.TrimSuffix(p.Mark, added)
	return is == want || is == noPins && want == "" || len(p.Backends) == 0
}

// bring says what a list changes, bit by bit. One that is brought again is not if it
// changes nothing.
func (f *Fleet) bring(term uint64, k *keyer, pool Pool, mark string, agreed, again bool) error {
	c := table.Stage{Term: term, Pool: pool.Name, Keys: k.made, Mark: mark, First: true}
	octets, changes, overruled := 0, 0, 0
	say := func() error {
		err := f.propose(c)
		changes += len(c.Pins)
		c.First, c.Pins, octets = false, nil, 0
		return err
	}
	add := func(l table.Listed) error {
		c.Pins = append(c.Pins, l)
		if octets += len(l.User) + len(l.Backend); len(c.Pins) < table.MaxListed && octets < table.MaxListedOctets {
			return nil
		}
		return say()
	}
	inFile := make(map[place.Key]struct{}, len(pool.Pins))
	for _, name := range sortedKeys(pool.Pins) {
		user := k.names.Normal(name) // the file's is by this node's configuration
		key, backend := k.keys.Key(pool.Name, user), pool.Pins[name]
		inFile[key] = struct{}{}
		f.mu.Lock()
		pin, pinned := f.table.Pins.Find(key)
		f.mu.Unlock()
		switch {
		case pinned && pin.Backend == backend:
			continue
		case pinned && !pin.File:
			overruled++
			continue
		}
		if err := add(table.Listed{Key: key, User: user, Backend: backend}); err != nil {
			return err
		}
	}
	if agreed {
		for _, l := range f.unfiled(pool.Name, inFile) {
			if err := add(l); err != nil {
				return err
			}
		}
	}
	if again && c.First && len(c.Pins) == 0 {
		return nil
	}
	c.Last = true
	if err := say(); err != nil {
		return err
	}
	f.log.Info("pins of a file are brought", "event", "pins_brought", "pool", pool.Name, "pins", len(pool.Pins), "changes", changes, "left_to_administrators", overruled)
	return nil
}

// unfiled are those who were pinned by a file and are in it no more.
func (f *Fleet) unfiled(pool string, inFile map[place.Key]struct{}) []table.Listed {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []table.Listed
	for key, pin := range f.table.Pins.Any() {
		if _, there := inFile[key]; !there && pin.File && pin.Pool == pool {
			list = append(list, table.Listed{Key: key, User: pin.User})
		}
	}
	return list
}

// differ notes whether files differ, and says whether to warn of it.
func (p *filed) differ(yes bool, now time.Time) bool {
	switch {
	case !yes:
		p.other, p.told = time.Time{}, false
	case p.other.IsZero():
		p.other = now
	case !p.told && now.Sub(p.other) >= pinsDiffer:
		p.told = true
		return true
	}
	return false
}
