package lead

import (
	"maps"
	"slices"

	"usher.example/cluster/table"
)

// A Flush asks for what a back end still has of a user in its caches to be written
// back and dropped, before he is let in elsewhere: all of his connections are closed
// and the back end has had its time.
type Flush struct {
	Move       uint64
	Pool, User string
	From, To   string // names of back ends; empty where it is not known
	By         string // who moves him
}

// Flushes returns what is to be flushed and was not returned before. Its owner says
// Flushed of each, whatever came of it; a leader that is elected meanwhile asks
// again.
func (l *Leader) Flushes() []Flush {
	list := l.flushes
	l.flushes = nil
	return list
}

// Flushed says that a flush is over, well or not.
func (l *Leader) Flushed(move uint64) {
	if _, asked := l.flushed[move]; asked {
		l.flushed[move] = true
	}
}

// flush says whether a move need not wait for a flush any more. Who is evacuated
// without a pin has no name in the table, and nothing can be flushed by a key.
func (l *Leader) flush(m *table.Move) bool {
	if !l.o.Flush || m.User == "" {
		return true
	}
	done, asked := l.flushed[m.Number]
	if !asked {
		l.flushed[m.Number] = false
		f := Flush{Move: m.Number, Pool: m.Pool, User: m.User, By: m.By}
		f.From, f.To = l.t.Way(m)
		l.flushes = append(l.flushes, f)
	}
	return done
}

// forgetFlushes drops what is known of moves that are over.
func (l *Leader) forgetFlushes() {
	maps.DeleteFunc(l.flushed, func(move uint64, _ bool) bool { return l.t.Moves[move] == nil })
	l.flushes = slices.DeleteFunc(l.flushes, func(f Flush) bool { return l.t.Moves[f.Move] == nil })
}
