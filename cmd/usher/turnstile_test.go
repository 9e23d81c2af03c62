package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"usher.example/balancer"
)

// A seat is a Placer that has one back end once it is set.
type seat struct {
	balancer.Placer
	backend string
}

func (s *seat) Place(context.Context, string, string) (backend, why string, hold uint64, err error) {
	return s.backend, "home", 1, nil
}

// TestTurnstile: who asks for a place while a reload goes on gets the one that
// it leads to.
func TestTurnstile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(seat)
		gate := &turnstile{Placer: s}
		open := gate.close()
		placed := make(chan string, 1)
		go func() {
			backend, _, _, err := gate.Place(t.Context(), "main", "joe")
			if err != nil {
				t.Error(err)
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
		s.backend = "mail1"
		open()
		if got := <-placed; got != "mail1" {
			t.Errorf("placed on %q, want mail1", got)
		}
	})
}
