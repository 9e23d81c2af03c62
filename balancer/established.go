package balancer

import (
	"encoding/base32"
	"hash/maphash"
	"net/netip"
	"strings"
	"time"
	"unique"

	"usher.example/balancer/forward"
	"usher.example/balancer/guard"
)

const (
	// chunkEntries is the number of established sessions that the registry grows
	// by. 67 fill the allocator's class of 10 KiB, and are out of the way of the
	// garbage of handshakes: an entry of its own among that would hold a page.
	chunkEntries = 67

	// shortName is the longest name of a user that lies in the entry itself. Few
	// addresses are longer; they lie in a map.
	shortName = 41
)

// An entry is an established session, without a goroutine and in as little room
// as can be: it stays for hours. The registry's lock guards it.
type entry struct {
	b       *binding
	backend *Backend
	ended   *Failure // why its flow was killed by us
	why     unique.Handle[string]
	flow    forward.Flow // the zero one until the engine has answered
	id      uint64       // as appendID writes it
	started int64        // nanoseconds since epoch
	hold    uint64       // of the Placer
	gen     uint32       // 0 while free
	user    uint32       // hash of the name in normal form; while free: the next free entry
	addr    [16]byte     // of the client
	port    uint16
	version uint16 // of TLS
	flags   entryFlags
	mech    uint8 // index of mechanisms
	length  uint8 // of the name; more than shortName: it lies in registry.long
	name    [shortName]byte
}

type entryFlags uint8

const (
	viaTLS  entryFlags = 1 << iota // a trusted proxy has taken TLS off
	claimed                        // is counted for its client's address
	held                           // the place is held, and the back end counts it
	is6                            // addr is IPv6
	counted                        // is counted for its user
)

type entryChunk struct {
	entries *[chunkEntries]entry // nil: no session
	free    uint32
	used    uint32
}

// epoch is what entries count time from.
var epoch = time.Now()

// seed makes hashes of names that nobody can foresee.
var seed = maphash.MakeSeed()

func hashName(normal string) uint32 { return uint32(maphash.String(seed, normal)) }

// idEncoding is that of RFC 4648 §6 in lower case.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// idText writes a session's id: lower-case letters and digits.
func idText(id uint64) string {
	var b [8]byte
	for i := range b {
		b[i] = byte(id >> (56 - 8*i))
	}
	return idEncoding.EncodeToString(b[:])
}

// A tag names an entry and its generation.
func makeTag(i int, gen uint32) uint64 { return uint64(gen)<<32 | uint64(i) }

// establish makes an entry of a session that an engine is about to adopt, in one
// step: who looks finds either. It is called with the session's mu held.
func (r *registry) establish(s *session, ended *Failure) (tag uint64) {
	e := entry{
		b: s.b, backend: s.backend, ended: ended, why: unique.Make(s.why), id: s.number,
		started: int64(s.started.Sub(epoch)), hold: s.hold, user: hashName(s.login.key),
		addr: s.client.Addr().As16(), port: s.client.Port(), version: s.version,
		flags: held, mech: uint8(mechanismIndex(s.login.mechanism)),
	}
	if s.viaTLS {
		e.flags |= viaTLS
	}
	if s.client.Addr().Is6() {
		e.flags |= is6
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.claimed.IsValid() {
		e.flags |= claimed
	}
	if s.counted {
		e.flags |= counted
	}
	tag = r.insert(e, s.login.user)
	delete(r.byID, s.id)
	return tag
}

// insert makes an entry that is like e, of a user. It is called with mu held.
func (r *registry) insert(e entry, user string) (tag uint64) {
	e.length = uint8(min(len(user), shortName+1))
	copy(e.name[:], user)
	c, i := r.room()
	if r.gen++; r.gen == 0 {
		r.gen = 1 // 0 is nobody
	}
	e.gen = r.gen
	tag = makeTag(c*chunkEntries+i, e.gen)
	if len(user) > shortName {
		r.long[tag] = strings.Clone(user)
	}
	r.chunks[c].free = r.chunks[c].entries[i].user
	r.chunks[c].entries[i] = e
	r.chunks[c].used++
	r.established++
	return tag
}

// room finds a free entry, or makes some. It is called with mu held.
func (r *registry) room() (chunk, i int) {
	empty := -1
	for c := range r.chunks {
		switch ch := &r.chunks[c]; {
		case ch.entries == nil:
			empty = c
		case ch.used < chunkEntries:
			return c, int(ch.free)
		}
	}
	if empty < 0 {
		empty = len(r.chunks)
		r.chunks = append(r.chunks, entryChunk{})
	}
	ch := entryChunk{entries: r.spare}
	if r.spare = nil; ch.entries == nil {
		ch.entries = new([chunkEntries]entry)
	}
	for i := range ch.entries {
		ch.entries[i].user = uint32(i) + 1
	}
	r.chunks[empty] = ch
	return empty, 0
}

// at returns an entry, nil if it is over. It is called with mu held.
func (r *registry) at(tag uint64) *entry {
	i := int(uint32(tag))
	if c := i / chunkEntries; c < len(r.chunks) && r.chunks[c].entries != nil {
		if e := &r.chunks[c].entries[i%chunkEntries]; e.gen != 0 && e.gen == uint32(tag>>32) {
			return e
		}
	}
	return nil
}

// flowing notes the flow of an entry, if the session has not ended already. True
// means that somebody wanted it to end meanwhile.
func (r *registry) flowing(tag uint64, f forward.Flow) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.at(tag)
	if e == nil {
		return false
	}
	e.flow = f
	return e.ended != nil
}

// flows tells whether the engine has answered for an entry, or it is over.
func (r *registry) flows(tag uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.at(tag)
	return e == nil || e.flow != (forward.Flow{})
}

// kill ends an established session; f is the reason that will be logged. False
// means that it is over, or being ended for another reason.
func (r *registry) kill(tag uint64, f *Failure) bool {
	r.mu.Lock()
	e := r.at(tag)
	if e == nil || e.ended != nil {
		r.mu.Unlock()
		return false
	}
	e.ended = f
	flow := e.flow
	r.mu.Unlock()
	flow.Kill() // nobody's until the engine has answered; then adopt does it
	return true
}

// release marks the place of an entry as given back, and returns what it was
// like before.
func (r *registry) release(tag uint64) (e entry, user string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.at(tag)
	if at == nil {
		return entry{}, "", false
	}
	e = *at
	at.flags &^= held
	return e, r.nameOf(tag, at), true
}

// forget frees an entry. It returns why the session was to be ended, if it was.
func (r *registry) forget(tag uint64) (ended *Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.at(tag)
	if e == nil {
		return nil
	}
	ended = e.ended
	if e.flags&claimed != 0 {
		r.disclaim(guard.AddressOf(e.client().Addr()))
	}
	if e.flags&counted != 0 {
		r.disclaimUser(e.user)
	}
	i := int(uint32(tag))
	c := &r.chunks[i/chunkEntries]
	*e = entry{user: c.free}
	c.free = uint32(i % chunkEntries)
	delete(r.long, tag)
	if c.used--; c.used == 0 {
		r.spare = c.entries // all of them are free
		*c = entryChunk{}
	}
	r.established--
	r.checkEmpty()
	return ended
}

// nameOf is called with mu held.
func (r *registry) nameOf(tag uint64, e *entry) string {
	if int(e.length) > shortName {
		return r.long[tag]
	}
	return string(e.name[:e.length])
}

// client is the client's address.
func (e *entry) client() netip.AddrPort {
	a := netip.AddrFrom16(e.addr)
	if e.flags&is6 == 0 {
		a = a.Unmap()
	}
	return netip.AddrPortFrom(a, e.port)
}

// each calls f with the entries that match; a nil match is all. f is given copies
// and may block. Who is there when each begins is not missed.
func (r *registry) each(match func(*entry) bool, f func(tag uint64, e *entry, user string)) {
	type found struct {
		entry
		tag  uint64
		user string
	}
	some := make([]found, 0, chunkEntries)
	for c := 0; ; c++ {
		r.mu.Lock()
		if c >= len(r.chunks) {
			r.mu.Unlock()
			return
		}
		some = some[:0]
		if entries := r.chunks[c].entries; entries != nil {
			for i := range entries {
				if e := &entries[i]; e.gen != 0 && (match == nil || match(e)) {
					tag := makeTag(c*chunkEntries+i, e.gen)
					some = append(some, found{*e, tag, r.nameOf(tag, e)})
				}
			}
		}
		r.mu.Unlock()
		for i := range some {
			f(some[i].tag, &some[i].entry, some[i].user)
		}
	}
}
