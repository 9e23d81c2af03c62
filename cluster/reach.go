package cluster

import (
	"strings"
	"time"

	"usher.example/health"
)

// aloneAfter is how long most back ends have to fail for this node alone before
// it says that it is not ready. Who is the first to see a back end die is alone
// with it until the others have looked three times, which takes them two to
// three seconds.
const aloneAfter = 5 * time.Second

// notReached is said by a node that should get no clients for it.
const notReached = "most back ends cannot be reached from this node, and other nodes reach them"

// reach notes whether most back ends fail for this node alone. It is called with mu
// held.
func (f *Fleet) reach(now int64, alone bool, failing []string) {
	switch {
	case !alone:
		if f.saidAlone {
			f.log.Info("most back ends can be reached from this node again", "event", "node_reaching")
		}
		f.alone, f.saidAlone = 0, false
	case f.alone == 0:
		f.alone = now
	case !f.saidAlone && now-f.alone >= int64(aloneAfter):
		f.saidAlone = true
		f.log.Warn(notReached, "event", "node_unreaching", "backends", strings.Join(failing, " "))
	}
}

// Unreached says why this node should get no logins though its fleet is well: empty
// if it should.
func (f *Fleet) Unreached() []health.Reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.saidAlone {
		return []health.Reason{{Code: health.BackendsAway, Text: notReached}}
	}
	return nil
}
