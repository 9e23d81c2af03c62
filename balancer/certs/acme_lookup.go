package certs

import (
	"context"
	"errors"
	"sync"
	"time"

	"usher.example/balancer/strand"
)

// Who asks for challenges is a stranger, and a key that a node does not have costs
// a round trip to the fleet's leader. So all who ask for a name share one read, and
// a name is read again only after a while; but nobody gets the result of a read that
// began before he asked: a CA that comes right after the challenge was stored would
// find nothing there, and the order would be lost.
const (
	// lookupPause is the time between two reads for one name: four a second, however
	// many ask. CAs look from several places, and wait for seconds.
	lookupPause = 250 * time.Millisecond

	// lookupTime bounds one read. CAs give up after some ten seconds.
	lookupTime = 5 * time.Second

	// maxLookups bounds the names that are looked up at once, beyond those that are
	// configured, and those of which a challenge was heard: with patterns, strangers
	// can make up names.
	maxLookups = 16
)

var (
	errBusy = errors.New("too many challenges are asked for")
	errOver = errors.New("the node ends")
)

// lookups shares reads. The zero value is ready once find is set.
type lookups struct {
	find func(ctx context.Context, name string) (*dare, error)

	mu     sync.Mutex // guards what follows
	active map[string]*turn
	made   int             // of the active, names that strangers may have made up
	life   context.Context // of all reads, from the first to close
	end    context.CancelFunc
	over   bool
	turns  sync.WaitGroup // added to under mu while it is not over
}

// close ends all reads, and returns when nothing goes on any more. Who asks later is
// told so.
func (l *lookups) close() {
	l.mu.Lock()
	l.over = true
	if l.end != nil {
		l.end()
	}
	l.mu.Unlock()
	l.turns.Wait()
}

// A turn is what goes on for one name.
type turn struct{ next *sharedRead }

// A sharedRead is one by all who came before it began.
type sharedRead struct {
	done chan struct{}
	dare *dare
	err  error
}

// get reads what there is for a name after the call began. The name is one of those
// configured, or else may be anybody's invention.
func (l *lookups) get(ctx context.Context, name string, configured bool) (*dare, error) {
	r, err := l.join(name, configured)
	if err != nil {
		return nil, err
	}
	ctx = strand.Waiting(ctx)
	select {
	case <-r.done:
		return r.dare, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *lookups) join(name string, configured bool) (*sharedRead, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, errOver
	}
	t := l.active[name]
	if t == nil {
		if !configured {
			if l.made >= maxLookups {
				return nil, errBusy
			}
			l.made++
		}
		if l.active == nil {
			l.active = make(map[string]*turn)
			l.life, l.end = context.WithCancel(context.Background())
		}
		t = new(turn)
		l.active[name] = t
		l.turns.Go(func() { l.serve(l.life, name, t, configured) }) // ends a pause after the last who asked
	}
	if t.next == nil {
		t.next = &sharedRead{done: make(chan struct{})}
	}
	return t.next, nil
}

// serve reads for a name until nobody asks any more, or life ends.
func (l *lookups) serve(life context.Context, name string, t *turn, configured bool) {
	for {
		l.mu.Lock()
		r := t.next
		if t.next = nil; r == nil {
			delete(l.active, name)
			if !configured {
				l.made--
			}
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(life, lookupTime)
		r.dare, r.err = l.find(ctx, name)
		cancel()
		close(r.done)
		pause := time.NewTimer(lookupPause)
		select {
		case <-pause.C:
		case <-life.Done():
			pause.Stop()
		}
	}
}
