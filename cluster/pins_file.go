package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"usher.example/cluster/table"
)

const (
	// unpinAtOnce is how many users are sent home at a look of the leader, a second
	// apart: their sessions end, and a line too few may be a mistake.
	unpinAtOnce = 20
	// pinsDiffer is for how long files may differ before it is worth a warning: they
	// are copied and read one after the other.
	pinsDiffer = time.Minute
	// pinsBy is who gave the order of a pin from a file.
	pinsBy = "pins file"
)

// filed are the pins of this node's files.
type filed struct {
	pools map[string]Pins // names as the fleet has them
	mark  string          // of all of them; empty until all pools are known
	due   bool            // somebody may have to be unpinned
	other time.Time       // since when files differ; zero: they do not
	told  bool            // of that
}

// file notes what a pool's file has; it must not be changed afterwards.
func (f *Fleet) file(k *keyer, pool string, pins Pins) {
	if k.names != f.o.Names {
		again := make(Pins, len(pins))
		for user, b := range pins {
			again[k.names.Normal(user)] = b
		}
		pins = again
	}
	f.mu.Lock()
	if f.filed.pools == nil {
		f.filed.pools = make(map[string]Pins)
	}
	f.filed.pools[pool] = pins
	pools := make(map[string]Pins, len(f.pools)) // as configured now
	for _, p := range f.pools {
		if pins, ok := f.filed.pools[p.Name]; ok {
			pools[p.Name] = pins
		}
	}
	whole := len(pools) == len(f.pools)
	f.mu.Unlock()
	mark := ""
	if whole {
		mark = printPins(pools) // takes a second for a million
	}
	f.mu.Lock()
	f.filed.pools, f.filed.mark, f.filed.due = pools, mark, true
	f.mu.Unlock()
	f.pinsMark.Store(&mark)
	f.tell()
}

// printPins is a short name of pins by which files are compared.
func printPins(pools map[string]Pins) string {
	h := sha256.New()
	for _, pool := range sortedKeys(pools) {
		_, _ = io.WriteString(h, pool+"\n")
		for _, user := range sortedKeys(pools[pool]) {
			_, _ = io.WriteString(h, user+" "+pools[pool][user]+"\n")
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// unpin sends users home whose pin is of a file and who are in it no more. It is the
// leader's, and it does so only when all nodes that are there have the same pins in
// their files: one that was not copied yet, or is an old one, unpins nobody.
func (f *Fleet) unpin() {
	alive := f.alive() // not under the lock
	f.mu.Lock()
	if f.leader == nil || f.o.Witness || f.filed.mark == "" {
		f.mu.Unlock()
		return
	}
	var others []string
	for _, name := range sortedKeys(alive) {
		if p := alive[name]; name != f.o.Node && !p.Witness && p.Pins != f.filed.mark {
			others = append(others, name)
		}
	}
	tell := f.filed.differ(len(others) > 0, time.Now())
	var gone []table.Start
	if len(others) == 0 && f.filed.due {
		gone = f.unfiled()
		f.filed.due = len(gone) == unpinAtOnce
	}
	f.mu.Unlock()
	if tell {
		f.log.Warn("pins files differ from this node's: nobody is unpinned before they are the same", "peers", strings.Join(others, " "))
	}
	for _, s := range gone {
		if err := f.propose(s); err != nil && !errors.Is(err, table.ErrLate) {
			f.log.Debug("a user is not unpinned yet", "pool", s.Pool, "err", err)
			f.mu.Lock()
			f.filed.due = true
			f.mu.Unlock()
		}
	}
	if len(gone) > 0 {
		f.log.Info("users are unpinned who are not in the pins file any more", "users", len(gone))
	}
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

// unfiled are some of those who are pinned by a file and in none. It is called with
// mu held.
func (f *Fleet) unfiled() []table.Start {
	var list []table.Start
	for key, pin := range f.table.Pins.Any() {
		if !pin.File || f.table.Moving(key) != nil {
			continue
		}
		pins, known := f.filed.pools[pin.Pool]
		if _, there := pins[pin.User]; there || !known {
			continue
		}
		list = append(list, table.Start{Pool: pin.Pool, Key: key, User: pin.User, Pin: table.PinClear, File: true, By: pinsBy})
		if len(list) == unpinAtOnce {
			break
		}
	}
	slices.SortFunc(list, func(a, b table.Start) int { return compare(a.User, b.User) })
	return list
}

// settled says whether a user's pin is as the file says, or not the file's to change:
// what an administrator has set holds until he takes it back.
func settled(pin table.Pin, pinned bool, backend string) (done, overruled bool) {
	switch {
	case !pinned:
		return false, false
	case pin.Backend == backend:
		return true, false
	}
	return !pin.File, !pin.File
}
