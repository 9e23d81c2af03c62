package cluster

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Nodes tell each other about failed logins: over the fleet port, each node to each,
// a second's news at a time. It is no part of the table, and best effort: a word that
// is lost is not said again. Gossip is not used for it, since memberlist puts many
// small words into one packet, and those do not arrive whole.

const (
	// maxWordOctets bounds a word: 4,096 penalties and as many logins, with names.
	maxWordOctets = 1 << 20
	// maxWords is how many words are taken in a second, from all nodes together. Each
	// says one; who says more has gone mad.
	maxWords = 64
	// tellTime bounds the telling of one word to one node.
	tellTime = 2 * time.Second
)

// A Hearsay is what a node remembers of failed logins. Its methods are called by many
// goroutines and do not block for long. What words mean is the caller's business.
type Hearsay interface {
	// Learn takes over what another node says, who is hardly to be believed.
	Learn(word []byte) error
	// Snapshot is what a node is told that starts, nil for nothing.
	Snapshot() []byte
	// Clear carries out an order to forget, and returns how many penalties that were.
	Clear(order []byte) (int, error)
}

// hearsay is a fleet's telling.
type hearsay struct {
	mu     sync.Mutex // guards what follows
	busy   map[string]bool
	second int64
	words  int
}

// errWords means that other nodes say more than they have to.
var errWords = errors.New("too many words in a second")

// admit counts a word.
func (h *hearsay) admit(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := now.Unix(); s != h.second {
		h.second, h.words = s, 0
	}
	if h.words++; h.words > maxWords {
		return errWords
	}
	return nil
}

// hearing answers what other nodes say.
func (f *Fleet) hearing(mux *http.ServeMux) {
	handle := func(path string, h func(b []byte) (any, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if f.o.Hearsay == nil {
				http.Error(w, "nothing is remembered here", http.StatusNotFound)
				return
			}
			if err := f.heard.admit(time.Now()); err != nil {
				http.Error(w, err.Error(), http.StatusTooManyRequests)
				return
			}
			b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWordOctets))
			if err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
				return
			}
			v, err := h(b)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			reply(w, v)
		})
	}
	handle("/v1/penalties", func(b []byte) (any, error) { return struct{}{}, f.o.Hearsay.Learn(b) })
	handle("/v1/penalties/all", func([]byte) (any, error) {
		return struct {
			Word json.RawMessage `json:"word,omitempty"`
		}{f.o.Hearsay.Snapshot()}, nil
	})
	handle("/v1/penalties/clear", func(b []byte) (any, error) {
		n, err := f.o.Hearsay.Clear(b)
		return counted{n}, err
	})
}

// Tell tells a word to the other nodes, and does not wait. A node that has not taken
// the word before yet misses this one.
func (f *Fleet) Tell(word []byte) {
	if len(word) == 0 || len(word) > maxWordOctets || f.gossip == nil {
		return
	}
	for name, p := range f.alive() {
		if name == f.o.Node || p.Witness || !f.heard.begin(name) {
			continue
		}
		f.goes(func() { // ends within tellTime, or with the fleet
			defer f.heard.end(name)
			if err := f.sendWithin(p.address, "/v1/penalties", word, nil, tellTime); err != nil {
				f.log.Debug("penalties are not told", "node", name, "err", err)
			}
		})
	}
}

// goes runs what others have asked for, unless the fleet has come to its end: nothing
// may begin beside the wait for all that runs.
func (f *Fleet) goes(do func()) {
	f.going.Lock()
	defer f.going.Unlock()
	if f.ctx.Err() == nil {
		f.running.Go(do)
	}
}

func (h *hearsay) begin(node string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[node] {
		return false
	}
	if h.busy == nil {
		h.busy = make(map[string]bool)
	}
	h.busy[node] = true
	return true
}

func (h *hearsay) end(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.busy, node)
}

// Alone says whether the node is a fleet of its own, which nobody joins.
func (f *Fleet) Alone() bool { return f.gossip == nil }

// AskHearsay asks one other node what it remembers and has it learnt. It says whether
// there was one that answered.
func (f *Fleet) AskHearsay() bool {
	if f.gossip == nil || f.o.Hearsay == nil {
		return false
	}
	for name, p := range f.alive() {
		if name == f.o.Node || p.Witness {
			continue
		}
		var answer struct {
			Word json.RawMessage `json:"word"`
		}
		err := f.sendWithin(p.address, "/v1/penalties/all", struct{}{}, &answer, tellTime)
		if err == nil && len(answer.Word) > 0 {
			err = f.o.Hearsay.Learn(answer.Word)
		}
		if err == nil {
			return true
		}
		f.log.Debug("penalties are not learnt", "node", name, "err", err)
	}
	return false
}

// ClearHearsay carries out an order to forget on all nodes, this one included. The
// error names those that did not answer; the number is of the others.
func (f *Fleet) ClearHearsay(order []byte) (int, error) {
	if f.o.Hearsay == nil {
		return 0, nil
	}
	n, err := f.o.Hearsay.Clear(order)
	if err != nil || f.gossip == nil {
		return n, err
	}
	err = survey(f, "/v1/penalties/clear", json.RawMessage(order), func(_ string, c counted) { n = max(n, c.Count) })
	return n, err
}
