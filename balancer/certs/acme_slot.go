package certs

import (
	"context"

	"github.com/caddyserver/certmagic"
)

// A slot is one of a few that orders are made in.
type slot chan struct{}

// held is a slot that somebody has.
type held struct{ slot }

// take waits for one.
func (s slot) take(ctx context.Context) (*held, error) {
	select {
	case s <- struct{}{}:
		return &held{s}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// free gives it back, once.
func (h *held) free() {
	if h.slot != nil {
		<-h.slot
		h.slot = nil
	}
}

// inSlot marks the context of an order with its slot.
type inSlot struct{}

// lockIn takes a lock. While it waits for another node others may have the slot: that
// node is at it, and this one has nothing to do.
func lockIn(ctx context.Context, s certmagic.Storage, name string) error {
	h, _ := ctx.Value(inSlot{}).(*held)
	t, ok := s.(certmagic.TryLocker)
	if h == nil || !ok {
		return s.Lock(ctx, name)
	}
	if got, err := t.TryLock(ctx, name); got || err != nil {
		return err
	}
	slots := h.slot
	h.free()
	if err := s.Lock(ctx, name); err != nil {
		return err
	}
	again, err := slots.take(ctx)
	if err != nil {
		_ = s.Unlock(context.WithoutCancel(ctx), name)
		return err
	}
	h.slot = again.slot
	return nil
}
