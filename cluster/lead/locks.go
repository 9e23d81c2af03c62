package lead

import (
	"fmt"
	"maps"
	"slices"

	"usher.example/cluster/member"
	"usher.example/cluster/table"
)

// LockLease is how long a lock is had without being renewed. A holder that has died
// holds up whoever wants it for that long, and for an election if it was the leader:
// 15 s together. Renewals, every RenewEvery, may be late by an election.
const LockLease = 10 * member.Second

// RenewEvery is the time between two renewals: of four that fit into a lease two may be
// lost. Locks are few and short, and each renewal is a write.
const RenewEvery = LockLease / 4

// A watched is a lock as the leader has seen it, unchanged since a time.
type watched struct {
	nonce, beat uint64
	at          int64
}

// breakLocks ends locks that this leader has seen for a whole lease without a renewal.
// What was before its election it does not know, so it counts from there: a lock is
// never ended early, and never by a clock that is not the leader's own.
func (l *Leader) breakLocks(now int64) []table.Command {
	if l.locks == nil {
		l.locks = make(map[string]watched)
	}
	maps.DeleteFunc(l.locks, func(name string, w watched) bool { return l.t.Locks[name].Nonce != w.nonce })
	var out []table.Command
	for _, name := range slices.Sorted(maps.Keys(l.t.Locks)) {
		is := l.t.Locks[name]
		w, seen := l.locks[name]
		if !seen || w.beat != is.Beat {
			w = watched{is.Nonce, is.Beat, now}
			l.locks[name] = w
		}
		if now-w.at >= LockLease {
			out = append(out, l.say(now, fmt.Sprintf("break %q %d %d", name, w.nonce, w.beat), table.Break{
				Term: l.term, Name: name, Nonce: w.nonce, Beat: w.beat,
			})...)
		}
	}
	return out
}
