package forward

import "sync/atomic"

// A Fallback says why the kernel did not get the TLS of a side that it was meant
// to get: our own record layer carries it.
type Fallback uint8

// Fallbacks.
const (
	NoSuite    Fallback = iota // the kernel does not do the suite
	NoRekey                    // a change of keys may come or is due, and the kernel has no way to
	AmidRecord                 // a part of a record had been read before the adoption
	Refused                    // the kernel said no to this connection
)

var fallbackNames = [...]string{"no_suite", "no_rekey", "amid_record", "refused"}

// Fallbacks lists every Fallback in order.
func Fallbacks() []Fallback { return []Fallback{NoSuite, NoRekey, AmidRecord, Refused} }

// String returns the name as metrics show it.
func (f Fallback) String() string {
	if int(f) < len(fallbackNames) {
		return fallbackNames[f]
	}
	return "unknown"
}

var pathNames = [...]string{wayUser: "user", waySplice: "splice", wayKernel: "ktls", wayCopy: "copy"}

// Paths lists what Flow.Path can return.
func Paths() []string { return pathNames[:] }

// adopted counts sessions by path.
type adopted [len(pathNames)]atomic.Uint64

func (a *adopted) count(w way) { a[w].Add(1) }

func (a *adopted) of(path string) uint64 {
	for w, name := range pathNames {
		if name == path {
			return a[w].Load()
		}
	}
	return 0
}

// Adopted returns how many sessions were adopted over a path.
func (r *Reactor) Adopted(path string) uint64 { return r.adopted.of(path) + r.copy.Adopted(path) }

// Adopted returns how many sessions were adopted over a path.
func (e *Copy) Adopted(path string) uint64 { return e.adopted.of(path) }

type fallbacks [len(fallbackNames)]atomic.Uint64

func (f *fallbacks) count(why Fallback) { f[why].Add(1) }

// Fallbacks returns how many sides fell back for a reason.
func (r *Reactor) Fallbacks(why Fallback) uint64 { return r.fallbacks[why].Load() }
