package balancer

// A Bound is what limits allow of the connections of all listeners together.
type Bound struct {
	Sessions int // logged in or not; 0: no limit
	Prelogin int // not logged in
}

// Bound returns the limits in force, or those of the last listener that was open: a
// node that is being stopped has none any more, and still counts.
func (srv *Server) Bound() Bound {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, l := range srv.listeners { // all have the same
		b := l.binding.Load()
		srv.bound = Bound{b.limits.Sessions, b.limits.Prelogin}
		break
	}
	return srv.bound
}
