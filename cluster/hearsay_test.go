package cluster

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// An ear hears words.
type ear struct{ words, clears int }

func (e *ear) Learn(w []byte) error {
	e.words++
	if bytes.Equal(w, []byte("nonsense")) {
		return errors.New("it is nonsense")
	}
	return nil
}
func (*ear) Snapshot() []byte            { return []byte(`{"x":1}`) }
func (e *ear) Clear([]byte) (int, error) { e.clears++; return 3, nil }

// A peer that has gone mad is heard so often a second, and no word is longer than
// it may be.
func TestMadPeerIsBounded(t *testing.T) {
	e := new(ear)
	f := &Fleet{o: FleetOptions{Hearsay: e}}
	mux := http.NewServeMux()
	f.hearing(mux)
	say := func(path string, body []byte) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
		return w
	}
	for _, tt := range []struct {
		path string
		body []byte
		code int
		want string
	}{
		{"/v1/penalties", []byte("{}"), 200, "{}"},
		{"/v1/penalties", []byte("nonsense"), 400, "nonsense"},
		{"/v1/penalties", make([]byte, maxWordOctets+1), 413, ""},
		{"/v1/penalties/all", nil, 200, `{"word":{"x":1}}`},
		{"/v1/penalties/clear", []byte(`{"all":true}`), 200, `{"count":3}`},
	} {
		if w := say(tt.path, tt.body); w.Code != tt.code || !bytes.Contains(w.Body.Bytes(), []byte(tt.want)) {
			t.Errorf("%s %.20s: %d %s", tt.path, tt.body, w.Code, w.Body)
		}
	}
	e.words = 0
	refused := 0
	for began := time.Now(); time.Since(began) < time.Second/2 && refused == 0; {
		for range 2 * maxWords {
			if say("/v1/penalties", []byte("{}")).Code == http.StatusTooManyRequests {
				refused++
			}
		}
	}
	if refused == 0 || e.words > 3*maxWords {
		t.Errorf("%d words were refused, %d heard", refused, e.words)
	}
	f.o.Hearsay = nil // a witness
	f.heard = hearsay{}
	if w := say("/v1/penalties", []byte("{}")); w.Code != http.StatusNotFound {
		t.Errorf("a witness answers %d", w.Code)
	}
}

// A node that does not take a word misses the next ones; nothing piles up.
func TestTellingDoesNotPileUp(t *testing.T) {
	var h hearsay
	if !h.begin("u2") || h.begin("u2") || !h.begin("u3") {
		t.Error("a busy node is told more, or another one is not")
	}
	h.end("u2")
	if !h.begin("u2") {
		t.Error("it is never told again")
	}
}

// Telling begins nothing beside the wait of a fleet that ends.
func TestTellingEndsWithTheFleet(t *testing.T) {
	f := new(Fleet)
	f.ctx, f.stop = context.WithCancel(t.Context())
	began := make(chan struct{})
	f.goes(func() { close(began) })
	<-began
	var telling sync.WaitGroup
	telling.Go(func() { // the race detector and the wait group itself would complain
		for f.ctx.Err() == nil {
			f.goes(func() {})
		}
	})
	f.rest()
	telling.Wait()
	f.goes(func() { t.Error("it is told after the end") })
	f.running.Wait()
}
