package balancer

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// A chunk of entries fits the allocator's class of 10 KiB, with the 8 octets that
// it puts before a large object with pointers, and fills it.
func TestChunkFillsItsClass(t *testing.T) {
	const class, header = 10 << 10, 8
	one := unsafe.Sizeof(entry{})
	if n := chunkEntries*one + header; n > class || n+one <= class {
		t.Errorf("a chunk takes %d octets, %d each; the class has %d", n, one, class)
	}
}

// What is copied into an entry comes out again, names of any length included,
// and when all are gone nothing is left.
func TestEntriesComeAndGo(t *testing.T) {
	r := newRegistry()
	b := &binding{ListenerOptions: ListenerOptions{Name: "imap"}}
	const sessions = 3*chunkEntries + 1
	clients := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("[2001:db8::1]:65535")}
	type want struct {
		user   string
		client netip.AddrPort
	}
	wants := make(map[uint64]want)
	for i := range sessions {
		s := &session{b: b, number: uint64(i), id: idText(uint64(i)), started: time.Now(), client: clients[i%2], why: "stay"}
		s.login.user = strings.Repeat("u", i%(2*shortName))
		if f := r.add(s, Limits{}); f != nil {
			t.Fatal(f)
		}
		if f := r.claim(s, 0); f != nil {
			t.Fatal(f)
		}
		r.loggedIn(s)
		wants[r.establish(s, nil)] = want{s.login.user, s.client}
	}
	if all, prelogin := r.counts(); all != sessions || prelogin != 0 || len(r.byID) != 0 {
		t.Errorf("%d sessions, %d before the login, %d on their way; want %d", all, prelogin, len(r.byID), sessions)
	}
	seen := 0
	r.each(nil, func(tag uint64, e *entry, user string) {
		seen++
		if w := wants[tag]; user != w.user || e.client() != w.client || e.why.Value() != "stay" {
			t.Errorf("entry %#x is of %q at %v by %s, want %q at %v", tag, user, e.client(), e.why.Value(), w.user, w.client)
		}
	})
	if seen != sessions {
		t.Errorf("%d entries are found, want %d", seen, sessions)
	}
	empty := r.close()
	for tag := range wants {
		if _, _, ok := r.release(tag); !ok {
			t.Errorf("entry %#x is lost", tag)
		}
		r.forget(tag)
		r.forget(tag) // again does nothing
		if r.kill(tag, fail(Kicked, "test")) {
			t.Errorf("entry %#x is killed after its end", tag)
		}
	}
	<-empty
	for _, c := range r.chunks {
		if c.entries != nil {
			t.Error("a chunk without sessions is kept")
		}
	}
	if len(r.long)+len(r.perAddr)+r.established != 0 {
		t.Errorf("left: %d long names, %d addresses, %d sessions", len(r.long), len(r.perAddr), r.established)
	}
}
