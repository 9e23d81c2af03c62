package balancer

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// waiters adds connections to a registry as a listener does.
type waiters struct {
	*registry
	t *testing.T
	n uint64
	l Limits
}

func (w *waiters) add(address string) *session {
	w.t.Helper()
	w.n++
	s := &session{b: &binding{}, number: w.n, id: idText(w.n), started: time.Now(), client: netip.AddrPortFrom(netip.MustParseAddr(address), 1)}
	s.tag = 1 // stop leaves it alone: it has no connection
	if f := w.registry.add(s, w.l); f != nil {
		w.t.Fatal(f)
	}
	return s
}

func (w *waiters) waits(s *session) bool { return s.queued.all != nil }

// A flood takes the places of the flood, from wherever it comes.
func TestShedding(t *testing.T) {
	const room = 5000
	for _, tt := range []struct {
		name  string
		flood func(i int) string
	}{
		{"of one address", func(int) string { return "192.0.2.1" }},
		{"of a /24", func(i int) string { return fmt.Sprintf("192.0.2.%d", i%256) }},
		{"of a /48", func(i int) string { return fmt.Sprintf("2001:db8:7:%x::1", i%65536) }},
		{"of forty addresses", func(i int) string { return fmt.Sprintf("10.%d.0.1", i%40) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &waiters{registry: newRegistry(), t: t, l: Limits{Prelogin: room, Exempt: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}
			var honest []*session
			for i := range 200 { // slow ones, who came first, some two at a time, and a webmail
				honest = append(honest, w.add(fmt.Sprintf("100.64.%d.1", i/2)), w.add("203.0.113.5"))
			}
			began := time.Now()
			for i := range 4 * room {
				w.add(tt.flood(i))
			}
			t.Logf("%v for each of the flood", time.Since(began)/(4*room))
			for i, s := range honest {
				if !w.waits(s) {
					t.Fatalf("honest connection %d of %v had to go", i, s.client)
				}
			}
			if _, n := w.counts(); n != room {
				t.Errorf("%d wait", n)
			}
			for i := range 100 {
				if late := w.add(fmt.Sprintf("100.65.%d.1", i)); !w.waits(late) {
					t.Fatal("who comes late had to go")
				}
			}
			for _, s := range w.all(nil) {
				w.remove(s)
			}
			if q := &w.prelogin; q.n+q.all.Len()+len(q.addresses.groups)+len(q.networks.groups)+q.addresses.most+q.networks.most != 0 {
				t.Errorf("left: %+v", q)
			}
		})
	}
}

// Where nobody has more than others the oldest goes; who is logging in is not the
// first; and who is known to be somebody else is counted as him.
func TestSheddingOrder(t *testing.T) {
	w := &waiters{registry: newRegistry(), t: t, l: Limits{Prelogin: 3}}
	a, b, c := w.add("192.0.2.1"), w.add("198.51.100.1"), w.add("203.0.113.1")
	w.busy(a)
	w.add("100.64.0.1")
	if w.waits(b) || !w.waits(a) || !w.waits(c) {
		t.Errorf("wait: %v %v %v", w.waits(a), w.waits(b), w.waits(c))
	}
	w = &waiters{registry: newRegistry(), t: t, l: Limits{Prelogin: 4}}
	one, two, three := w.add("192.0.2.1"), w.add("192.0.2.1"), w.add("192.0.2.1") // a balancer's
	for i, s := range []*session{one, two, three} {
		s.client = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("100.64.%d.1", i/2)), 1)
		w.regroup(s, false)
	}
	w.add("198.51.100.1")
	w.add("198.51.100.2")
	if w.waits(one) || !w.waits(two) || !w.waits(three) {
		t.Errorf("wait: %v %v %v", w.waits(one), w.waits(two), w.waits(three))
	}
}

// In a flood from everywhere an office that comes at nine is no flood, though its
// address has most; and who is many behind one address goes when nobody else is left.
func TestSheddingSpares(t *testing.T) {
	const room = 5000
	w := &waiters{registry: newRegistry(), t: t, l: Limits{Prelogin: room, Exempt: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}
	var webmail, office []*session
	for range 20 {
		webmail = append(webmail, w.add("203.0.113.5"))
	}
	for range 3 {
		for i := range 2000 {
			w.add(fmt.Sprintf("10.%d.%d.1", i/250, i%250))
		}
	}
	for range 20 {
		s := w.add("192.0.2.1")
		w.busy(s)
		office = append(office, s)
	}
	for i := range 2000 {
		w.add(fmt.Sprintf("10.%d.%d.1", i/250, i%250))
	}
	for _, s := range append(office, webmail...) {
		if !w.waits(s) {
			t.Fatalf("a connection of %v had to go", s.client)
		}
	}
	w = &waiters{registry: newRegistry(), t: t, l: Limits{Prelogin: 3, Exempt: w.l.Exempt}}
	first := w.add("203.0.113.5")
	for range 3 {
		w.add("203.0.113.5")
	}
	if _, n := w.counts(); n != 3 || w.waits(first) {
		t.Errorf("%d wait where all are of an exempt network", n)
	}
	w.l.Prelogin = 5
	s := w.add("198.51.100.1") // a proxy's, which says that he is a webmail's
	s.client = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), 1)
	w.regroup(s, true)
	other := w.add("198.51.100.1")
	w.add("198.51.100.2")
	if w.waits(other) || !w.waits(s) {
		t.Errorf("the webmail's waits: %v, the other: %v", w.waits(s), w.waits(other))
	}
	for _, s := range w.all(nil) {
		w.remove(s)
	}
	if q := &w.prelogin; q.n+q.all.Len()+q.many.Len()+len(q.addresses.groups) != 0 {
		t.Errorf("left: %+v", q)
	}
}
