package balancer

import (
	"container/list"
	"net/netip"
	"sync"
)

// A registry knows every session of the node and holds the limits.
type registry struct {
	mu       sync.Mutex
	byID     map[string]*session // up to the adoption
	prelogin list.List           // of *session, oldest first
	perAddr  map[netip.Prefix]int
	closing  bool          // nobody gets in any more
	empty    chan struct{} // closed when closing and no session is left

	chunks      []entryChunk // the sessions from the adoption on
	long        map[uint64]string
	established int
	gen         uint32
}

func newRegistry() *registry {
	return &registry{
		byID: make(map[string]*session), perAddr: make(map[netip.Prefix]int), empty: make(chan struct{}),
		long: make(map[uint64]string),
	}
}

// add admits a connection, or says why not. When there are too many that have
// not logged in, the oldest of them makes room, as in Dovecot: a flood of silent
// connections then drowns itself, not the clients that talk.
func (r *registry) add(s *session, l Limits) *Failure {
	r.mu.Lock()
	if f := r.full(l); f != nil {
		r.mu.Unlock()
		return f
	}
	r.byID[s.id] = s
	s.waiting = r.prelogin.PushBack(s)
	var oldest *session
	if l.Prelogin > 0 && r.prelogin.Len() > l.Prelogin {
		oldest, _ = r.prelogin.Remove(r.prelogin.Front()).(*session)
		oldest.waiting = nil
	}
	r.mu.Unlock()
	if oldest != nil {
		oldest.stop(fail(Shed, "%d connections have not logged in", l.Prelogin))
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

// claim counts the session for its client's address.
func (r *registry) claim(s *session, limit int) *Failure {
	net := network(s.client.Addr())
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.crowded(net, limit); f != nil {
		return f
	}
	r.perAddr[net]++
	s.claimed = net
	return nil
}

// network is what one client may own: an IPv4 address, an IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // no error: bits fit the family
	return p
}

// busy puts a session that is logging in behind those that only wait: when
// room has to be made, it is not the first to go.
func (r *registry) busy(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.waiting != nil {
		r.prelogin.MoveToBack(s.waiting)
	}
}

// loggedIn takes the session off the list of those that wait for a login.
func (r *registry) loggedIn(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.waiting != nil {
		r.prelogin.Remove(s.waiting)
		s.waiting = nil
	}
}

// remove forgets a session that was never adopted.
func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[s.id] != s {
		return
	}
	delete(r.byID, s.id)
	if s.waiting != nil {
		r.prelogin.Remove(s.waiting)
		s.waiting = nil
	}
	if s.claimed.IsValid() {
		r.disclaim(s.claimed)
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
	return len(r.byID) + r.established, r.prelogin.Len()
}
