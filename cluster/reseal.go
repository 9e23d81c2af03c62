package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"usher.example/cluster/table"
)

// resealEvery is the time between two looks for values that are sealed with what is on
// its way out. Whoever takes a version of the secret out of the file waits for that.
const resealEvery = 2 * time.Second

// keepSealed has values sealed with the secret in use: the leader after a rotation, and
// whoever alone can open them, as it has stored them before it had a fleet.
func (f *Fleet) keepSealed() {
	tick := time.NewTimer(resealEvery + Beat(resealEvery)) // who starts is behind for a while
	defer tick.Stop()
	var lost map[string]int
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
			tick.Reset(Beat(resealEvery))
			lost = f.keepLost(lost)
			f.missTickets()
		case <-f.resealing:
		}
		f.reseals()
	}
}

// sealAnew has that looked for at once.
func (f *Fleet) sealAnew() {
	select {
	case f.resealing <- struct{}{}:
	default:
	}
}

// reseals seals anew what there is, one value after the other. What fails is met again.
func (f *Fleet) reseals() {
	for _, key := range f.stale() {
		f.mu.Lock()
		v, ok := f.table.Values.Find(key)
		f.mu.Unlock()
		if !ok || f.ctx.Err() != nil {
			continue
		}
		plain, err := f.openValue(key, v)
		if err != nil {
			f.log.Debug("a value is not sealed anew", "key", key, "err", err)
			continue
		}
		c := table.Reseal{Key: key, Number: v.Number}
		c.By, c.Sealed = f.sealValue(key, plain)
		clear(plain)
		ctx, cancel := context.WithTimeout(f.ctx, sayTime)
		_, err = f.orderOnce(ctx, c)
		cancel()
		if err != nil {
			f.log.Debug("a value is not sealed anew yet", "key", key, "err", err)
			return // it is met again at the next look
		}
	}
}

// stale lists the values that this node should seal anew.
func (f *Fleet) stale() []string {
	s := f.sealing() // once: it may be another a moment later
	if len(s.list) == 0 {
		return nil
	}
	all, used, own := s.prints, s.prints[0], s.ownPrints()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fatal != nil {
		return nil
	}
	var list []string
	for key, v := range f.table.Values.Any() {
		if v.By != used && (slices.Contains(own, v.By) || f.leader != nil && slices.Contains(all, v.By)) {
			list = append(list, key)
		}
	}
	slices.Sort(list)
	return list
}

// mayUnseal says why versions of the secret must not be given up yet. It is called with
// mu held.
func (f *Fleet) mayUnseal(before, list []Secret) error {
	had, have, n := prints(before), prints(list), 0
	for _, v := range f.table.Values.Any() {
		if slices.Contains(had, v.By) && !slices.Contains(have, v.By) {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d values of the table are sealed with a version that is not in the file any more: the leader seals them anew once it uses the new one; try again when usher fleet status shows a quorum", n)
	}
	return nil
}
