package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"usher.example/cluster/table"
)

// Values are small files that every node has: certificates, and what is needed to get
// them. They are written through the log and read from this node's table.

const (
	// storeTime bounds a write: an election, if the first is split, and the log's own
	// time for a command.
	storeTime = 10 * time.Second
	// spreadTime is how long a write waits for the other nodes to have it. A CA asks
	// any of them for a token some milliseconds after it was told of it; one that has
	// died is not to be waited for.
	spreadTime = 1 * time.Second
	// storeAgain is the time between two attempts while nobody leads.
	storeAgain = 100 * time.Millisecond
)

// A ValueInfo says what a key is.
type ValueInfo struct {
	Key      string
	Modified time.Time // by the clock of the node that stored it
	Size     int64     // in octets
	// Dir: it has no value, but other keys begin with it and a slash.
	Dir bool
}

// Put stores a value under a key, whatever was there; see table.CheckKey. It returns
// when the fleet has it and every node that serves and answers within a second: a
// value that was there before may be read elsewhere up to then. Without a majority of
// the voters the error is ErrNoLeader, after 10 s at the latest. It may have been
// stored nevertheless. The octets are not kept.
func (f *Fleet) Put(ctx context.Context, key string, value []byte) error {
	return f.PutUnder(ctx, "", key, value)
}

// PutUnder is Put by who works under a lock: if this node has taken it, and has lost it
// before it released it, nothing is stored, and the error is ErrLockLost. If it has not
// taken it, it is as Put.
func (f *Fleet) PutUnder(ctx context.Context, lock, key string, value []byte) error {
	if err := table.CheckKey(key); err != nil {
		return err
	}
	if len(value) > table.MaxValue-sealOverhead {
		return fmt.Errorf("%w: %s has %d", table.ErrTooLarge, key, len(value)+sealOverhead)
	}
	if err := f.needSealer(); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	c := table.Put{Key: key, At: time.Now().UnixNano(), Fence: f.locks.fence(lock)}
	c.By, c.Sealed = f.sealValue(key, value)
	return f.write(ctx, "store "+key, func(a attempt) (table.Command, error) {
		v, there := f.table.Values.Find(key)
		switch {
		case there && string(v.Sealed) == string(c.Sealed):
			return nil, nil //nolint:nilnil // the attempt before this one: no two are sealed alike
		case there && v.Number > c.Base && (a.unsure || a.late > 1):
			return nil, nil //nolint:nilnil // this write was before that one
		case !there && a.unsure:
			return nil, errUnsure
		}
		c.Base = f.table.LastValue
		return c, nil
	})
}

// errUnsure: neither to say that it is done nor to do it again would be right.
var errUnsure = errors.New("whether it was stored is not known: the fleet lost its leader in the midst of it, and values were removed since; store it again")

// Remove removes the value of a key, or all values below it. That there is none is no
// error. Otherwise it is as Put.
func (f *Fleet) Remove(ctx context.Context, key string) error {
	return f.RemoveUnder(ctx, "", key)
}

// RemoveUnder is to Remove as PutUnder is to Put.
func (f *Fleet) RemoveUnder(ctx context.Context, lock, key string) error {
	if err := table.CheckKey(key); err != nil {
		return err
	}
	if err := f.Fresh(ctx); err != nil { // else what is not here yet would be left
		return fmt.Errorf("delete %s: %w", key, err)
	}
	fence := f.locks.fence(lock)
	return f.write(ctx, "delete "+key, func(a attempt) (table.Command, error) {
		_, there := f.table.Values.Find(key)
		if a.unsure || !there && !f.table.Values.Dir(key) {
			return nil, nil //nolint:nilnil // what is there was stored later
		}
		return table.Remove{Key: key, Base: f.table.LastValue, Fence: fence}, nil
	})
}

// Value returns the value of a key. What this node has it answers by itself; of a key
// that it does not have it asks the leader first. The error is fs.ErrNotExist if there
// is none, ErrSealed if it cannot be opened, and another if nobody can say whether
// there is one.
func (f *Fleet) Value(ctx context.Context, key string) ([]byte, error) {
	v, err := find(ctx, f, "read "+key, func() (table.Value, bool) { return f.table.Values.Find(key) })
	if err != nil {
		return nil, err
	}
	return f.openValue(key, v)
}

// Stat says what a key is. It asks and fails as Value does, but opens nothing.
func (f *Fleet) Stat(ctx context.Context, key string) (ValueInfo, error) {
	return find(ctx, f, "look at "+key, func() (ValueInfo, bool) {
		if v, ok := f.table.Values.Find(key); ok {
			return ValueInfo{Key: key, Modified: time.Unix(0, v.Modified), Size: int64(max(len(v.Sealed)-sealOverhead, 0))}, true
		}
		return ValueInfo{Key: key, Dir: true}, f.table.Values.Dir(key)
	})
}

// Keys lists what is in a directory, sorted: values and directories, and if it is
// recursive what is in those. The empty directory has all, and is always there. It asks
// and fails as Value does.
func (f *Fleet) Keys(ctx context.Context, dir string, recursive bool) ([]string, error) {
	return find(ctx, f, "list "+dir, func() ([]string, bool) {
		_, file := f.table.Values.Find(dir)
		return f.table.Values.List(dir, recursive), dir == "" || file || f.table.Values.Dir(dir)
	})
}

// Room is how many octets of values there is room for, by this node's table. Each value
// counts some hundred octets more than it has.
func (f *Fleet) Room() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(table.MaxValues - f.table.Values.Octets())
}

// Fresh waits until this node has what the fleet had when it was asked. One that can
// reach no leader says so.
func (f *Fleet) Fresh(ctx context.Context) error { return f.fresher.wait(ctx, f) }

// find looks for something in the table. What is not there may have come a moment ago, so
// the leader is asked before that is said. See is called with mu held.
func find[V any](ctx context.Context, f *Fleet, what string, see func() (V, bool)) (V, error) {
	var none V
	if !f.replayed.Load() { // it starts with a snapshot, and may have newer entries
		_ = f.Fresh(ctx) // without a leader what is here has to do
		f.replayed.Store(true)
	}
	for _, last := range []bool{false, true} {
		if err := context.Cause(ctx); err != nil {
			return none, fmt.Errorf("%s: %w", what, err)
		}
		f.mu.Lock()
		v, ok := see()
		f.mu.Unlock()
		if ok {
			return v, nil
		}
		if last {
			break
		}
		if err := f.Fresh(ctx); err != nil {
			return none, fmt.Errorf("%s: it is not here, and whether it is anywhere is not known: %w", what, err)
		}
	}
	return none, fmt.Errorf("%s: %w", what, fs.ErrNotExist)
}

// An attempt is what is known of the attempts of a write before this one.
type attempt struct {
	// late is how often the answer was that another has written since. The first time
	// that may have been before this write began, which this node had not heard of; now
	// it has. The second time it was meanwhile, so this write may as well have been the
	// one before.
	late int
	// unsure: it was late, and may have been so by an attempt that had no answer.
	unsure bool
}

// write commits what make makes of the present table, and waits until others have it.
// Make is called with mu held; with nil the work is done.
func (f *Fleet) write(ctx context.Context, what string, make func(attempt) (table.Command, error)) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	var index uint64
	for a := (attempt{}); ; a.late++ {
		f.mu.Lock()
		c, err := make(a)
		fatal, applied := f.fatal, f.applied
		f.mu.Unlock()
		if fatal != nil {
			err = fatal
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if c == nil {
			index = applied
			break
		}
		at, unanswered, err := f.order(ctx, c)
		if index = at; err == nil {
			break
		}
		if errors.Is(err, table.ErrNotLocked) {
			err = ErrLockLost
		}
		if !errors.Is(err, table.ErrLate) {
			return fmt.Errorf("%s: %w", what, err)
		}
		a.unsure = unanswered
	}
	f.spread(ctx, index)
	return nil
}

// order has a command committed, and returns when it is applied here. While nobody
// leads it tries again, until ctx ends. Unanswered says that there was an attempt that
// may have come about without an answer.
func (f *Fleet) order(ctx context.Context, c table.Command) (index uint64, unanswered bool, err error) {
	var before error
	for {
		index, err = f.orderOnce(ctx, c)
		if before != nil && err != nil && context.Cause(ctx) != nil && !errors.Is(err, errUnanswered) {
			return 0, unanswered, before // it says more than that time is over
		}
		if err == nil || !errors.Is(err, ErrNoLeader) {
			if index > 0 && ctx.Err() == nil {
				if e := f.follow(ctx, index); e != nil && err == nil {
					err = e
				}
			}
			return index, unanswered, err
		}
		unanswered = unanswered || !errors.As(err, new(*unsent))
		before = err
		if e := f.pause(ctx, storeAgain); e != nil {
			return 0, unanswered, fmt.Errorf("%w (%w)", err, e)
		}
	}
}

// An unsent error is of a command that nobody was told.
type unsent struct{ error }

// Unwrap shows what is in the way.
func (u *unsent) Unwrap() error { return u.error }

// pause lets time pass, unless ctx or the fleet ends.
func (f *Fleet) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

// orderOnce tries it once. A command that is on its way when ctx ends may be applied
// still.
func (f *Fleet) orderOnce(ctx context.Context, c table.Command) (uint64, error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	type answer struct {
		index uint64
		err   error
	}
	done := make(chan answer, 1)
	go func() { // ends after the time of a command at the latest
		index, err := f.commit(c)
		done <- answer{index, err}
	}()
	select {
	case a := <-done:
		return a.index, a.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w (%w)", errUnanswered, context.Cause(ctx))
	case <-f.ctx.Done():
		return 0, context.Cause(f.ctx)
	}
}

// commit is as propose, says where the command is in the log, and does not wait for
// this node to apply it.
func (f *Fleet) commit(c table.Command) (uint64, error) {
	if f.raft.State() == raft.Leader {
		return f.apply(c, applyTime)
	}
	address, _ := f.raft.LeaderWithID()
	if address == "" || f.port == nil {
		return 0, &unsent{f.noLeader()}
	}
	var p proposal
	if err := f.send(string(address), "/v1/propose", table.Encode(c), &p); err != nil {
		return 0, fmt.Errorf("%w: %w", f.noLeader(), err)
	}
	if p.Error != "" {
		return p.Index, &remote{p.Error, known[p.Kind]}
	}
	return p.Index, nil
}

// follow waits until an entry is applied here.
func (f *Fleet) follow(ctx context.Context, index uint64) error {
	if err := f.until(ctx, func() bool { return f.applied >= index }); err != nil {
		return fmt.Errorf("it is done, but this node has not heard of it yet: %w", err)
	}
	return nil
}

// until waits until the table is as wanted, or ctx or the fleet ends. Done is called
// with mu held.
func (f *Fleet) until(ctx context.Context, done func() bool) error {
	for {
		f.mu.Lock()
		ok, changed := done(), f.changed
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
}

// inDir says whether a key is in a directory, at any depth.
func inDir(key, dir string) bool { return dir == "" || strings.HasPrefix(key, dir+"/") }
