package certs

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing may happen in a folder before its files are
	// read: who writes one writes the other, and a link, in the same breath.
	quiet = 200 * time.Millisecond

	// loud is how long it is waited for that at most.
	loud = 2 * time.Second

	// patience is how long a key may come after its certificate, or the other
	// way round, before that is an operator's matter.
	patience = 5 * time.Second

	// lookEvery is the time between two looks whatever was heard: network file
	// systems tell nothing of other hosts' changes (inotify(7)), and who is not
	// yet valid becomes so. It is a stat for each file.
	lookEvery = time.Minute
)

// A watched shelf is made of files.
type watched interface {
	folders() []string
	look(final bool) (unsaid bool)
}

// A guard watches the folders of all shelves with one inotify instance: a user
// has 128 of those.
type guard struct {
	k       *Keeper
	watcher *fsnotify.Watcher // nil: there is none to be had
	watches map[string]bool
	warned  bool

	dirty   map[watched]bool // something has changed in their folders
	since   time.Time        // when the first of it did
	read    *time.Timer      // for the dirty
	waiting map[watched]bool // those with something unsaid
	settle  *time.Timer      // for the waiting
}

// watch reads files again when they change, until ctx ends.
func (k *Keeper) watch(ctx context.Context) {
	g := &guard{
		k: k, watches: make(map[string]bool), dirty: make(map[watched]bool), waiting: make(map[watched]bool),
		read: stopped(), settle: stopped(),
	}
	var events chan fsnotify.Event
	var faults chan error
	w, err := fsnotify.NewWatcher()
	if err != nil {
		g.blind(err)
	} else {
		g.watcher, events, faults = w, w.Events, w.Errors
		defer w.Close()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	defer g.read.Stop()
	defer g.settle.Stop()
	g.follow()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return // closed by nobody but us
			}
			if e.Op.Has(fsnotify.Remove) || e.Op.Has(fsnotify.Rename) {
				delete(g.watches, e.Name) // if it was a folder its watch is gone
			}
			g.heard(e.Name, filepath.Dir(e.Name))
		case <-faults: // such as that there was more than could be told
			g.all()
		case <-k.changed:
			g.follow()
		case <-tick.C:
			clear(g.watches) // a folder of that name may be another one now
			g.all()
		case <-g.read.C:
			g.look(g.dirty, false)
		case <-g.settle.C:
			g.look(g.waiting, true)
		}
	}
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// shelves are those made of files, in the plan in force.
func (g *guard) shelves() []watched {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	var list []watched
	for _, p := range g.k.shelves {
		if w, ok := p.shelf.(watched); ok {
			list = append(list, w)
		}
	}
	return list
}

// heard notes that something has changed in folders.
func (g *guard) heard(folders ...string) {
	for _, w := range g.shelves() {
		for _, dir := range w.folders() {
			for _, f := range folders {
				if dir == f {
					g.note(w)
				}
			}
		}
	}
}

// note has a shelf looked at when there is quiet.
func (g *guard) note(w watched) {
	now := time.Now()
	if len(g.dirty) == 0 {
		g.since = now
	}
	g.dirty[w] = true
	g.read.Reset(max(0, min(quiet, g.since.Add(loud).Sub(now))))
}

func (g *guard) all() {
	for _, w := range g.shelves() {
		g.note(w)
	}
}

// look reads those that are due.
func (g *guard) look(due map[watched]bool, final bool) {
	for w := range due {
		if w.look(final) {
			g.waiting[w] = true
			g.settle.Reset(patience)
		} else {
			delete(g.waiting, w)
		}
	}
	if !final {
		clear(due)
	}
	g.follow()
}

// follow watches the folders that matter now, and no others. What may have
// happened before a watch began is looked for.
func (g *guard) follow() {
	if g.watcher == nil {
		return
	}
	wanted := make(map[string]bool)
	for _, w := range g.shelves() {
		for _, dir := range w.folders() {
			wanted[dir] = true
			if g.watches[dir] {
				continue
			}
			switch err := g.watcher.Add(dir); {
			case err == nil:
				g.watches[dir] = true
				g.note(w)
			case !errors.Is(err, fs.ErrNotExist):
				g.blind(err)
			}
		}
	}
	for _, dir := range g.watcher.WatchList() {
		if !wanted[dir] {
			_ = g.watcher.Remove(dir) // gone is gone
			delete(g.watches, dir)
		}
	}
}

// blind says, once, that changes are found by looking.
func (g *guard) blind(err error) {
	if g.warned {
		return
	}
	g.warned = true
	g.k.options.Log.Warn("changes of certificate files are noticed within a minute, not at once: raise fs.inotify.max_user_watches or max_user_instances (sysctl) if they are used up",
		"err", err)
}
