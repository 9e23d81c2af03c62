package balancer

import (
	"net/netip"
	"sync"

	"usher.example/balancer/guard"
	"usher.example/sniff"
)

// A registry knows every session of the node and holds the limits.
type registry struct {
	mu       sync.Mutex
	byID     map[string]*session // up to the adoption
	prelogin queues              // those that have not logged in
	perAddr  map[netip.Prefix]int
	perUser  map[uint32]int32 // logged in, by hash of the name in normal form
	closing  bool             // nobody gets in any more
	empty    chan struct{}    // closed when closing and no session is left

	chunks      []entryChunk         // the sessions from the adoption on
	spare       *[chunkEntries]entry // so that one who comes and goes alone makes none each time
	long        map[uint64]string
	established int
	gen         uint32
}

func newRegistry() *registry {
	return &registry{
		byID: make(map[string]*session), perAddr: make(map[netip.Prefix]int), perUser: make(map[uint32]int32), empty: make(chan struct{}),
		long: make(map[uint64]string),
	}
}

// add admits a connection, or says why not. When there are too many that have
// not logged in, one of those who have most makes room.
func (r *registry) add(s *session, l Limits) *Failure {
	r.mu.Lock()
	if f := r.full(l); f != nil {
		r.mu.Unlock()
		return f
	}
	r.byID[s.id] = s
	r.prelogin.push(s, contains(l.Exempt, s.client.Addr()))
	var leaves *session
	if l.Prelogin > 0 && r.prelogin.n > l.Prelogin {
		leaves = r.prelogin.victim()
		r.prelogin.remove(leaves)
	}
	r.mu.Unlock()
	if leaves != nil {
		leaves.stop(fail(Shed, "%d connections have not logged in", l.Prelogin))
	}
	return nil
}

// full says why no connection is taken, if so. It is called with mu held.
func (r *registry) full(l Limits) *Failure {
	if r.closing {
		return fail(ShuttingDown, "the node is being stopped")
	}
	if l.Sessions > 0 && len(r.byID)+r.established >= l.Sessions {
		return fail(LimitReached, "%d sessions on this node", l.Sessions)
	}
	return nil
}

// crowded says why an address gets no more sessions, if so. It is called with mu held.
func (r *registry) crowded(net netip.Prefix, limit int) *Failure {
	if limit > 0 && r.perAddr[net] >= limit {
		return fail(LimitReached, "%d sessions of %s", limit, net)
	}
	return nil
}

// regroup is for when it is known who the client is.
func (r *registry) regroup(s *session, many bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.queued.all == nil || s.queued.of == s.client.Addr() && !many {
		return
	}
	r.prelogin.take(s)
	r.prelogin.put(s, many)
}

// sated says why a user, by the hash of his name, gets no more sessions, if so. It is
// called with mu held.
func (r *registry) sated(user uint32, limit int) *Failure {
	if n := r.perUser[user]; limit > 0 && int(n) >= limit {
		f := fail(LimitReached, "%d sessions of the user", n)
		f.Refusal = &sniff.Refusal{Code: sniff.Limit, Text: "Too many sessions of this user."}
		return f
	}
	return nil
}

// claimUser counts the session for its user.
func (r *registry) claimUser(s *session, limit int) *Failure {
	if limit <= 0 {
		return nil
	}
	user := hashName(s.login.key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.sated(user, limit); f != nil {
		return f
	}
	r.perUser[user]++
	s.counted = true
	return nil
}

// disclaimUser is called with mu held.
func (r *registry) disclaimUser(user uint32) {
	if r.perUser[user]--; r.perUser[user] <= 0 {
		delete(r.perUser, user)
	}
}

// claim counts the session for its client's address.
func (r *registry) claim(s *session, limit int) *Failure {
	if limit <= 0 {
		return nil // nothing is to be remembered of anybody
	}
	net := guard.AddressOf(s.client.Addr())
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.crowded(net, limit); f != nil {
		return f
	}
	r.perAddr[net]++
	s.claimed = net
	return nil
}

// busy puts a session that is logging in behind those that only wait: when
// room has to be made, it is not the first to go.
func (r *registry) busy(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prelogin.toBack(s)
}

// loggedIn takes the session off the list of those that wait for a login.
func (r *registry) loggedIn(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prelogin.remove(s)
}

// remove forgets a session that was never adopted.
func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[s.id] != s {
		return
	}
	delete(r.byID, s.id)
	r.prelogin.remove(s)
	if s.claimed.IsValid() {
		r.disclaim(s.claimed)
	}
	if s.counted {
		r.disclaimUser(hashName(s.login.key))
	}
	r.checkEmpty()
}

// disclaim is called with mu held.
func (r *registry) disclaim(net netip.Prefix) {
	if r.perAddr[net]--; r.perAddr[net] <= 0 {
		delete(r.perAddr, net)
	}
}

// close lets nobody in any more; the channel is closed when all have left.
func (r *registry) close() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closing {
		r.closing = true
		r.checkEmpty()
	}
	return r.empty
}

// checkEmpty is called with mu held.
func (r *registry) checkEmpty() {
	if r.closing && len(r.byID)+r.established == 0 {
		select {
		case <-r.empty:
		default:
			close(r.empty)
		}
	}
}

// all returns the sessions on their way to the adoption that match; a nil match
// is all. Who asks for the established ones afterwards, by each, misses none.
func (r *registry) all(match func(*session) bool) []*session {
	r.mu.Lock()
	sessions := make([]*session, 0, len(r.byID))
	for _, s := range r.byID {
		sessions = append(sessions, s)
	}
	r.mu.Unlock()
	if match == nil {
		return sessions
	}
	matching := sessions[:0]
	for _, s := range sessions {
		if match(s) {
			matching = append(matching, s)
		}
	}
	return matching
}

// counts returns how many sessions there are and how many wait for a login.
func (r *registry) counts() (all, prelogin int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byID) + r.established, r.prelogin.n
}
