package balancer

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer/guard"
	"usher.example/sniff"
)

// tooMany are the words for who has to wait longer than we hold him.
const tooMany = "Too many failed logins from here, please try again later."

// attempt tries a login, once the memory of failed ones lets it.
func (s *session) attempt(login *sniff.Login) (*link, *acceptance, error) {
	s.srv.sessions.busy(s) // before he waits: who is silent makes room first
	g := s.srv.deps.Guard
	if g == nil {
		return s.relogin(login)
	}
	secret := login.Password
	if len(secret) == 0 {
		secret = login.Initial
	}
	a := &s.guarded
	*a = guard.Attempt{
		Client: s.client.Addr(), User: s.login.key, Digest: g.Digest(s.login.key, secret),
		Trusted: contains(s.b.TrustedNetworks, s.client.Addr()),
	}
	if err := s.await(g, a); err != nil {
		login.Wipe()
		return nil, nil, err
	}
	ended := false
	defer func() { // after a panic as well: nobody is under way for ever
		if !ended {
			g.End(time.Now(), a, guard.Neither)
		}
	}()
	s.guessed, s.silent = false, false
	server, yes, err := s.relogin(login)
	outcome := guard.Neither
	switch {
	case err == nil:
		outcome = guard.Succeeded
	case s.guessed, !errors.Is(err, errCancelled) && asFailure(err).Kind == AuthFailed:
		outcome = guard.Failed
	case s.silent:
		outcome = guard.Unanswered
	}
	ended = true
	s.penance = g.End(time.Now(), a, outcome)
	return server, yes, err
}

// turnedAway is the failure of a login that is not tried.
func turnedAway(why guard.Reason) *Failure {
	f := fail(Guarded, "%s", why)
	f.Refusal = &sniff.Refusal{Code: sniff.Limit, Text: tooMany}
	return f
}

// await waits until a login may be tried.
func (s *session) await(g *guard.Guard, a *guard.Attempt) error {
	waited := time.Duration(0)
	for {
		if s.patience() < s.b.patience()-s.b.holding() {
			g.Leave(a, waited)
			if waited > 0 {
				g.Stats.Refused[guard.Paused].Add(1)
				return turnedAway(guard.Paused)
			}
			return fail(ClientTimeout, "the login came too late to wait for the back end's answer")
		}
		v := g.Begin(time.Now(), a, s.patience()-s.b.patience()+s.b.holding())
		if v.Go {
			g.Leave(a, waited)
			return nil
		}
		d, err := s.pause(v.Wait)
		waited += d
		s.heldFor += d
		if err == nil && s.srv.stopping() { // another node is there for him
			err = fail(ShuttingDown, "the node is being stopped")
		}
		if err != nil || v.Refuse {
			g.Leave(a, waited)
		}
		if err != nil {
			return err
		}
		if v.Refuse {
			g.Stats.Refused[v.Reason].Add(1)
			return turnedAway(v.Reason)
		}
	}
}

// atone keeps the answer to a failure back.
func (s *session) atone() error {
	g := s.srv.deps.Guard
	if g == nil || s.penance == 0 {
		return nil
	}
	d, err := s.pause(min(s.penance, s.patience()))
	s.penance = 0
	g.Leave(&s.guarded, d)
	return err
}

// patience is how long the client can be kept waiting: he is to have an answer
// before his connection's own end.
func (s *session) patience() time.Duration {
	return max(time.Until(s.started.Add(s.b.patience())), 0)
}

// patience is that of a client who has just come.
func (b *binding) patience() time.Duration {
	limit := b.limits.LoginTime
	return limit - min(answerTime, limit/4)
}

// leastTry is what has to be left of the time for a login when it is tried: Dovecot
// answers a good password at once and a wrong one after up to 17 s, and whoever comes
// so late that only the first is in time would guess without being counted. Of a
// short login_time it is half.
const leastTry = 20 * time.Second

// holding is how long a client who has just come can be kept waiting for his try.
func (b *binding) holding() time.Duration {
	p := b.patience()
	return p - min(leastTry, p/2)
}

// crowd says whether many users come from an address, so that it has no limit of its own.
func (b *binding) crowd(a netip.Addr) (trusted, many bool) {
	trusted = contains(b.TrustedNetworks, a)
	return trusted, trusted || contains(b.limits.Exempt, a)
}

// pause waits, with nothing held but the connection, and no longer than until the node
// is to stop: nobody is to wait for those who guess. It returns for how long, and an
// error if the session was ended meanwhile.
func (s *session) pause(d time.Duration) (time.Duration, error) {
	if d <= 0 {
		return 0, nil
	}
	s.strand.Leave()
	s.setPhase(PhaseWait)
	began := time.Now()
	t := time.NewTimer(d)
	defer t.Stop()
	look := time.NewTicker(lookTime)
	defer look.Stop()
	for {
		select {
		case <-t.C:
			return d, nil
		case <-look.C:
			if hungUp(s.raw) {
				return time.Since(began), &Failure{Kind: ClientGone}
			}
		case <-s.srv.stopped:
			return time.Since(began), nil
		case <-s.ctx.Done():
			return time.Since(began), context.Cause(s.ctx)
		}
	}
}

// lookTime is how often we look whether a client who is kept waiting is still there:
// who is not takes a place from those who are.
const lookTime = time.Second

// hungUp says that the client has closed his side. It is not read from the connection:
// what he has sent before would have to be kept.
func hungUp(c syscall.Conn) (gone bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			gone = info.State == unix.BPF_TCP_CLOSE_WAIT || info.State == unix.BPF_TCP_CLOSE
		}
	})
	return gone || err != nil // closed, for want of a descriptor perhaps
}

// stopping says that nothing new is accepted any more.
func (srv *Server) stopping() bool {
	select {
	case <-srv.stopped:
		return true
	default:
		return false
	}
}

// forgo gives up a delay that nobody is there to wait for.
func (s *session) forgo() {
	if g := s.srv.deps.Guard; g != nil {
		g.Leave(&s.guarded, 0)
	}
	s.penance = 0
}

// claimUser counts a session for its user, who has just proved that it is he: to
// others it is not told how many he has.
func (s *session) claimUser(server *link) error {
	f := s.srv.sessions.claimUser(s, s.b.limits.PerUser)
	if f == nil {
		return nil
	}
	server.close()
	s.letGo()
	if g := s.srv.deps.Guard; g != nil {
		g.Stats.Refused[guard.UserLimit].Add(1)
	}
	return f
}
