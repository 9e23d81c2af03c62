package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A follower learns of an entry soon, but not before the writer has gone on: what a
// node has is asked of it.

// freshAgain is the least time between two questions of a node to its leader for what
// is new: strangers ask for names that nobody has, and each question is an entry of
// the log.
const freshAgain = 100 * time.Millisecond

// reachable is a question whether a node has applied an entry; it is answered when it
// has.
type reachable struct {
	Index uint64 `json:"index"`
}

// sharing answers what other nodes ask about values.
func (f *Fleet) sharing(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/reach", func(w http.ResponseWriter, r *http.Request) {
		var q reachable
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&q) != nil {
			http.Error(w, "no entry", http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), spreadTime)
		defer cancel()
		if err := f.follow(ctx, q.Index); err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /v1/newest", func(w http.ResponseWriter, _ *http.Request) {
		index, err := f.newest()
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		reply(w, reachable{index})
	})
}

// newest is the last entry that has an effect, if we lead.
func (f *Fleet) newest() (uint64, error) {
	if err := f.barrier(); err != nil {
		return 0, f.noLeader()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied, nil
}

// spread waits until all nodes that serve have an entry, or for as long as that is worth.
func (f *Fleet) spread(ctx context.Context, index uint64) {
	if f.port == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, spreadTime)
	defer cancel()
	var addresses []string
	alive := f.alive()
	f.mu.Lock()
	for name, m := range f.table.Members {
		_, there := alive[name]
		if (m.Counted || there && !m.Witness) && name != f.o.Node { // who is isolated serves, too
			addresses = append(addresses, m.Address)
		}
	}
	f.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, address := range addresses {
		wg.Go(func() { _ = f.ask(ctx, address, "/v1/reach", reachable{index}, nil) }) // who is not there is not waited for
	}
}

// A fresher asks the leader for what is new, once for all who want to know: who comes
// while a question is on its way waits for the next.
type fresher struct {
	mu   sync.Mutex
	next *round // that nobody asks for yet
	last time.Time
}

// A round is one question.
type round struct {
	done chan struct{}
	err  error
}

// wait waits for the answer to a question that is asked after this call.
func (r *fresher) wait(ctx context.Context, f *Fleet) error {
	r.mu.Lock()
	mine := r.next
	if mine == nil {
		mine = &round{done: make(chan struct{})}
		r.next = mine
		go r.ask(f, mine) // ends with the answer
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ask asks for one round, when it is time.
func (r *fresher) ask(f *Fleet, mine *round) {
	defer close(mine.done)
	r.mu.Lock()
	pause := time.Until(r.last.Add(freshAgain))
	r.mu.Unlock()
	select {
	case <-time.After(pause):
	case <-f.ctx.Done():
		mine.err = context.Cause(f.ctx)
	}
	r.mu.Lock()
	r.next, r.last = nil, time.Now()
	r.mu.Unlock()
	if mine.err == nil {
		mine.err = f.askNewest()
	}
}

// askNewest asks the leader how far the log is, and waits until that is applied here.
// While nobody leads it waits for an election, but not for a majority that is gone.
func (f *Fleet) askNewest() error {
	ctx, cancel := context.WithTimeout(f.ctx, askTime)
	defer cancel()
	for {
		err := f.askLeader(ctx)
		if err == nil || !errors.Is(err, ErrNoLeader) {
			return err
		}
		select {
		case <-time.After(storeAgain):
		case <-ctx.Done():
			return err
		}
	}
}

func (f *Fleet) askLeader(ctx context.Context) error {
	if f.raft.State() == raft.Leader {
		_, err := f.newest()
		return err
	}
	address, _ := f.raft.LeaderWithID()
	if address == "" || f.port == nil {
		return f.noLeader()
	}
	var newest reachable
	if err := f.ask(ctx, string(address), "/v1/newest", struct{}{}, &newest); err != nil {
		return fmt.Errorf("%w: %w", f.noLeader(), err)
	}
	return f.follow(ctx, newest.Index)
}
