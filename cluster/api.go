package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"usher.example/cluster/table"
)

// What nodes ask each other over the fleet port. Peers know the secret and are not
// believed any more than that: bodies are bounded, and the table judges commands.

const (
	// maxBody is a command, in base64, and then some.
	maxBody = 2 * table.MaxCommand
	// MaxAnswer is what one node says to another at a time, in octets.
	MaxAnswer = maxBody
	// askTime bounds a question to another node.
	askTime = 3 * time.Second
)

// An answer is what a proposal came to.
type proposal struct {
	Index uint64 `json:"index"`
	Error string `json:"error,omitempty"`
	Kind  string `json:"kind,omitempty"` // of the error, for errors.Is
}

// known are the errors that keep their identity on the way.
var known = map[string]error{
	"late": table.ErrLate, "term": table.ErrTerm, "not_counted": table.ErrNotCounted, "counted": table.ErrCounted,
	"old_life": table.ErrOldLife, "directory": table.ErrDirectory, "waits": table.ErrWaits, "no_pool": table.ErrNoPool,
	"no_backend": table.ErrNoBackend, "no_member": table.ErrNoMember, "target": table.ErrTarget, "moving": table.ErrMoving,
	"key": table.ErrKey, "too_large": table.ErrTooLarge, "full": table.ErrFull, "below": table.ErrBelow,
	"locked": table.ErrLocked, "not_locked": table.ErrNotLocked, "locks": table.ErrLocks,
	"same_key": table.ErrSameKey, "keys": table.ErrKeys, "settling": table.ErrSettling, "collide": table.ErrCollide, "no_leader": ErrNoLeader,
}

// A remote error is one that another node told.
type remote struct {
	text string
	kind error
}

func (r *remote) Error() string { return r.text }
func (r *remote) Unwrap() error { return r.kind }

func (f *Fleet) serveAPI() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/propose", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		c, err := table.Decode(b)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		index, err := f.apply(c, applyTime)
		p := proposal{Index: index}
		if err != nil {
			p.Error = err.Error()
			for kind, sentinel := range known {
				if errors.Is(err, sentinel) {
					p.Kind = kind
				}
			}
		}
		reply(w, p)
	})
	mux.HandleFunc("POST /v1/report", func(w http.ResponseWriter, r *http.Request) {
		var m message
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&m) != nil || !f.reported(m) {
			http.Error(w, "not the leader", http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /v1/fresh", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, freshness{f.dir.id, f.fresh()})
	})
	mux.HandleFunc("POST /v1/kick", func(w http.ResponseWriter, r *http.Request) {
		var k asked
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&k) != nil || f.o.Local == nil {
			http.Error(w, "nothing to kick", http.StatusBadRequest)
			return
		}
		reply(w, counted{f.o.Local.Kick(k.User, k.Reason)})
	})
	mux.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		var k asked
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&k) != nil || f.o.Local == nil {
			http.Error(w, "no sessions", http.StatusBadRequest)
			return
		}
		b, err := f.o.Local.Sessions(k.User)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, json.RawMessage(b))
	})
	f.steering(mux)
	f.asking(mux)
	f.looking(mux)
	f.eventing(mux)
	f.showing(mux)
	f.sharing(mux)
	f.hearing(mux)
	f.server = &http.Server{Handler: mux, ReadHeaderTimeout: handshakeTime, ReadTimeout: 4 * askTime, IdleTimeout: time.Minute}
	f.serving.Go(func() { _ = f.server.Serve(f.port.layer(f.port.api)) }) // until shut
	f.api = &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return f.port.dial(ctx, address, protoAPI)
		},
		MaxIdleConnsPerHost: deliverers + maxAway + 2, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}
}

// freshness says whether a node has a log.
type freshness struct {
	Dir   string `json:"dir"`
	Fresh bool   `json:"fresh"`
}

// asked is a question about a user.
type asked struct {
	User   string `json:"user"`
	Reason string `json:"reason,omitempty"`
}

type counted struct {
	Count int `json:"count"`
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the peer may have gone
}

// send asks another node. Body is JSON, or octets as they are.
func (f *Fleet) send(address, path string, body, into any) error {
	return f.sendWithin(address, path, body, into, askTime)
}

func (f *Fleet) sendWithin(address, path string, body, into any, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(f.ctx, limit)
	defer cancel()
	return f.ask(ctx, address, path, body, into)
}

func (f *Fleet) ask(ctx context.Context, address, path string, body, into any) error {
	b, ok := body.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := f.api.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
		return fmt.Errorf("ask %s: %s: %s", address, resp.Status, strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(into)
}

// apply commits a command while we lead.
func (f *Fleet) apply(c table.Command, limit time.Duration) (uint64, error) {
	future := f.raft.Apply(sealEntry(table.Encode(c)), min(applyTime, limit))
	if err := f.answered(future, limit); err != nil {
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			err = fmt.Errorf("%w: %w", ErrNoLeader, err)
		}
		return 0, err
	}
	f.nudge(c)
	if err, ok := future.Response().(error); ok {
		return future.Index(), err
	}
	return future.Index(), nil
}

// propose has a command committed by whoever leads, and waits until it is applied
// here.
func (f *Fleet) propose(c table.Command) error { return f.proposeWithin(c, applyTime+askTime) }

func (f *Fleet) proposeWithin(c table.Command, limit time.Duration) error {
	if f.raft.State() == raft.Leader {
		_, err := f.apply(c, limit)
		return err
	}
	address, _ := f.raft.LeaderWithID()
	if address == "" || f.port == nil {
		return f.noLeader()
	}
	var p proposal
	if err := f.sendWithin(string(address), "/v1/propose", table.Encode(c), &p, limit); err != nil {
		return fmt.Errorf("%w: %w", f.noLeader(), err)
	}
	if p.Error != "" {
		return &remote{p.Error, known[p.Kind]}
	}
	return f.await(p.Index)
}

// noLeader is ErrNoLeader with the voters that are missed.
func (f *Fleet) noLeader() error {
	alive := f.alive()
	var absent []string
	for _, name := range f.o.Voters {
		if _, there := alive[name]; !there {
			absent = append(absent, name)
		}
	}
	if len(absent) == 0 || f.gossip == nil {
		return ErrNoLeader
	}
	return fmt.Errorf("%w; not there: %s", ErrNoLeader, strings.Join(absent, ", "))
}

// await waits until an entry is applied here: whoever gave the order reads the table
// next. Raft's own index will not do, as it counts what was only handed over.
func (f *Fleet) await(index uint64) error {
	ctx, cancel := context.WithTimeout(f.ctx, applyTime)
	defer cancel()
	return f.follow(ctx, index)
}

// cutID takes a server's id apart.
func cutID(id raft.ServerID) (node, dir string, ok bool) { return strings.Cut(string(id), "/") }
