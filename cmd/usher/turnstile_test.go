package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"usher.example/cluster"
)

// TestTurnstile: who asks for a place while a reload goes on gets the one that
// it leads to.
func TestTurnstile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := &turnstile{places: cluster.NewSingle(cluster.Options{})}
		open := gate.close()
		placed := make(chan string, 1)
		go func() {
			backend, _, hold, err := gate.Place(t.Context(), "main", "joe")
			if err != nil {
				t.Error(err)
			} else {
				gate.Release(hold)
			}
			placed <- backend
		}()
		synctest.Wait()
		select {
		case <-placed:
			t.Error("placed while the turnstile is closed")
		default:
		}
		over, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("the client has gone")
		cancel(gone)
		if _, _, _, err := gate.Place(over, "main", "ann"); !errors.Is(err, gone) {
			t.Errorf("who gives up: got %v, want %v", err, gone)
		}
		if err := gate.Update([]cluster.Pool{{Name: "main", Backends: []cluster.Backend{{Name: "mail1", Weight: 1}}}}); err != nil {
			t.Fatal(err)
		}
		open()
		if got := <-placed; got != "mail1" {
			t.Errorf("placed on %q, want mail1", got)
		}
	})
}
