package cluster

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"testing"

	"usher.example/cluster/place"
)

// A deaf transport loses the answers to what a node proposes, while it is told to.
type deaf struct {
	http.RoundTripper
	mu   sync.Mutex
	kind string // of the command whose next answer is lost; empty: none is
	then func() // what happens meanwhile
}

var errDeaf = errors.New("the answer is lost")

func (d *deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(r)
	if r.URL.Path != "/v1/propose" || err != nil {
		return resp, err
	}
	body, _ := r.GetBody() // octets always have it
	b, _ := io.ReadAll(body)
	d.mu.Lock()
	then, hit := d.then, d.kind != "" && bytes.Contains(b, []byte(`"k":"`+d.kind+`"`))
	if hit {
		d.kind = ""
	}
	d.mu.Unlock()
	if !hit {
		return resp, nil
	}
	_, _ = io.Copy(io.Discard, resp.Body) // it is lost anyway
	_ = resp.Body.Close()
	then()
	return nil, errDeaf
}

// lose has the next answer to a kind of command lost; then is called before the node
// knows.
func (d *deaf) lose(kind string, then func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kind, d.then = kind, then
}

// TestUnanswered holds what a write does that was done and not answered, and what another
// did since: it neither brings back what is gone nor overwrites what is newer.
func TestUnanswered(t *testing.T) {
	o := FleetOptions{Fleet: "test", Node: "edge-1", Secrets: []Secret{NewSecret()}, Bind: "127.0.0.1:0", Voters: []string{"edge-1"}, State: t.TempDir(), KickDelay: -1}
	leader := openNode(t, o, mainPool(place.Shared, 1))
	await(t, leader)
	o.Node, o.State, o.Join = "edge-2", t.TempDir(), []string{leader.f.port.advertise.String()}
	var d *deaf
	restore := opened
	opened = func(f *Fleet) {
		d = &deaf{RoundTripper: f.api.Transport}
		f.api.Transport = d
	}
	other := openNode(t, o, mainPool(place.Shared, 1))
	opened = restore
	await(t, other)

	remove := func(s *sitter, key string) {
		if err := s.f.Remove(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	store := func(s *sitter, key, value string) {
		if err := s.f.Put(t.Context(), key, []byte(value)); err != nil {
			t.Error(err)
		}
	}
	d.lose("put", func() {})
	store(other, "plain", "stored")
	has(t, leader, "plain", "stored")

	d.lose("put", func() { remove(leader, "a/key") })
	if err := other.f.Put(t.Context(), "a/key", []byte("private")); !errors.Is(err, errUnsure) {
		t.Errorf("stored and removed since: %v", err)
	}
	if v, err := leader.f.Value(t.Context(), "a/key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was removed is there again: %q, %v", v, err)
	}

	d.lose("put", func() { store(leader, "b", "newer") })
	store(other, "b", "older")
	has(t, leader, "b", "newer")

	d.lose("remove", func() { store(leader, "b", "newest") })
	remove(other, "b")
	has(t, leader, "b", "newest")
}
