package main

// Watch implements cluster.Prober. A back end that has no checker yet gets one that
// begins with a probe, and the fleet says this again.
func (l *local) Watch(pool, backend string, on bool) {
	if r := l.checker(pool, backend); r != nil {
		r.Rest(!on)
	}
}

// Look implements cluster.Prober.
func (l *local) Look(pool, backend string) {
	if r := l.checker(pool, backend); r != nil {
		r.Trigger()
	}
}

func (l *local) checker(pool, backend string) *running {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checkers[checkKey{pool, backend}]
}

// probed tells the fleet that this node has looked at a back end.
func (n *node) probed(pool, backend string, good bool) {
	n.fleet.Probed(pool, backend, good)
}

// doubt has those look who observe a back end for the fleet.
func (n *node) doubt(pool, backend string) {
	n.fleet.Doubt(pool, backend)
}
