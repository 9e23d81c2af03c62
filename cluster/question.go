package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// What one node's program asks those of the others, such as whether they could use a back
// end. The fleet carries question and answer and knows neither.

const (
	// maxAnswer bounds an answer: a million users of 14 octets each, in base64.
	maxAnswer = 20 << 20
	// thinkTime is how long a node may think about one. Looking a name up takes that long.
	thinkTime = 8 * time.Second
)

// A Reply is a node's word on a question.
type Reply struct {
	Node string
	Data json.RawMessage
}

// Answer has this node answer a topic, which is a word of small letters and hyphens. An
// error is told to who asks. It is called by many goroutines, before and after Run.
func (f *Fleet) Answer(topic string, answer func(ctx context.Context, question json.RawMessage) (any, error)) {
	f.topics.Store(topic, answer)
}

// answerHere answers a question of this node.
func (f *Fleet) answerHere(ctx context.Context, topic string, question json.RawMessage) (json.RawMessage, error) {
	if topic == seatsTopic {
		list, err := f.seatsHere(question)
		if err != nil {
			return nil, err
		}
		return json.Marshal(list)
	}
	h, ok := f.topics.Load(topic)
	if !ok {
		return nil, errNoTopic
	}
	answer, ok := h.(func(context.Context, json.RawMessage) (any, error))
	if !ok {
		return nil, errNoTopic
	}
	v, err := answer(ctx, question)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

var errNoTopic = errors.New("it does not know that question: it may be older than this node; upgrade it")

// asking answers what other nodes' programs ask.
func (f *Fleet) asking(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/question/{topic}", func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), thinkTime)
		defer cancel()
		data, err := f.answerHere(ctx, r.PathValue("topic"), question)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		reply(w, data)
	})
}

// Ask asks this node and all others that serve, at the same time, and calls got for each
// answer, one at a time, this node's first. The error has a line for each node that did
// not answer, or could not; unseen are the names of those that are counted, and cannot be
// seen.
func (f *Fleet) Ask(ctx context.Context, topic string, question any, got func(Reply)) (unseen []string, err error) {
	q, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	var errs []error
	alive := f.alive()
	type told struct {
		node string
		data json.RawMessage
		err  error
	}
	answers, asked := make(chan told, len(alive)), 0
	for name, p := range alive {
		if name == f.o.Node || p.Witness {
			continue
		}
		asked++
		go func() { // ends with thinkTime and some
			t := told{node: name}
			within, cancel := context.WithTimeout(ctx, thinkTime+askTime)
			defer cancel()
			t.err = f.askLong(within, p.address, "/v1/question/"+topic, q, &t.data)
			answers <- t
		}()
	}
	if !f.o.Witness { // while the others think
		within, cancel := context.WithTimeout(ctx, thinkTime)
		data, err := f.answerHere(within, topic, q)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", f.o.Node, err))
		} else {
			got(Reply{f.o.Node, data})
		}
	}
	for range asked {
		t := <-answers
		if t.err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", t.node, t.err))
			continue
		}
		got(Reply{t.node, t.data})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range sortedKeys(f.table.Members) {
		if _, there := alive[name]; !there && name != f.o.Node && f.table.Members[name].Counted {
			unseen = append(unseen, name)
		}
	}
	return unseen, errors.Join(errs...)
}

// missingOf is one error of both that Ask returns, a line for each node.
func missingOf(unseen []string, err error) error {
	errs := []error{err}
	for _, name := range unseen {
		errs = append(errs, fmt.Errorf("node %s: it cannot be seen, and may have users", name))
	}
	return errors.Join(errs...)
}

// AskAll is Ask, and has one error for all nodes whose answer is missing.
func (f *Fleet) AskAll(ctx context.Context, topic string, question any, got func(Reply)) error {
	return missingOf(f.Ask(ctx, topic, question, got))
}

// askLong is ask with room for a long answer; the text of a refusal is the error.
func (f *Fleet) askLong(ctx context.Context, address, path string, body []byte, into *json.RawMessage) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+path, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp, err := f.api.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errNoTopic
	default:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return errors.New(strings.TrimSpace(string(text)))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("its answer is longer than %d octets", maxAnswer)
	}
	if err == nil && !json.Valid(b) {
		err = errors.New("its answer is not JSON")
	}
	*into = b
	return err
}
