package guard

import "time"

// ofPair is the memory of what one user failed from one address.
const ofPair = "pair"

// An Explanation is what a login would be told that came now.
type Explanation struct {
	// Exempt says why it is not looked at: off, trusted or exempt. Empty: it is.
	Exempt string
	// Known: the user has logged in from there before, so that what others do there, and
	// what strangers do in his name, is not his business.
	Known bool
	// By is the memory that keeps it waiting, address, network, user or pair, and Name what
	// that is of. Empty: it may be tried at once.
	By, Name string
	Wait     time.Duration // until it may be tried, or is asked about again
	Weight   float32       // of what is remembered
	Refuse   bool          // it is not tried: a client does not wait so long
	Reason   Reason        // of that
}

// Explain says what Begin would say of a login, and why, by what Begin goes by. Nothing is
// remembered of it, and nobody waits the longer. Without a
// Digest it speaks of a password that was not the good one last time.
func (g *Guard) Explain(now time.Time, a Attempt, patience time.Duration) (x Explanation) {
	g.prepare(now, &a)
	if a.idle {
		switch {
		case g.options.Load().Off:
			x.Exempt = "off"
		case a.Trusted:
			x.Exempt = "trusted"
		default:
			x.Exempt = "exempt"
		}
		return x
	}
	t := g.nanos(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	a.patience = patience
	a.known, a.proven = g.known.has(a.pair, a.Digest)
	x.Known = a.known
	wait, by, w := g.hinder(&a, t, false)
	if wait <= 0 {
		return x
	}
	v := g.queue(&a, t, wait, patience)
	g.leave(&a) // it was not there
	x.By, x.Wait, x.Refuse, x.Reason = by, wait, v.Refuse, v.Reason
	switch by {
	case ofPair:
		x.Name, x.Weight = a.User+" from "+AddressOf(a.Client).String(), w.pair.bad
	case Address.String():
		x.Name, x.Weight = AddressOf(a.Client).String(), w.address.bad
	case Network.String():
		x.Name, x.Weight = NetworkOf(a.Client).String(), w.network.bad
	default:
		x.Name, x.Weight = a.User, w.user.bad
	}
	return x
}
