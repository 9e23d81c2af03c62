package balancer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"usher.example/balancer/forward"
	"usher.example/balancer/guard"
	"usher.example/balancer/handshake"
	"usher.example/balancer/strand"
	"usher.example/sniff"
)

const (
	// maxAttempts bounds the refused logins of one connection. People mistype
	// twice; who tries more often can connect again, where limits see him.
	maxAttempts = 5

	// challengeProtocol is the ALPN name by which a CA looks for the answer to its
	// challenge. It sees it in the handshake, and nothing is said after that
	// (RFC 8737 §4).
	challengeProtocol = "acme-tls/1"
)

// A session is one client, from accept to the end. Up to the adoption one
// goroutine runs it; the fields under mu and the methods stop, abandon and info
// are for others. At the adoption what has to stay is copied into an entry of the
// registry, and the session is garbage.
type session struct {
	srv     *Server
	b       *binding
	number  uint64 // the id
	id      string // as it is written
	started time.Time
	left    atomic.Bool  // has been accounted for
	queued  place        // in the registry's queues, guarded by registry.mu
	claimed netip.Prefix // guarded by registry.mu
	counted bool         // for its user, guarded by registry.mu

	mu      sync.Mutex // guards what follows
	client  netip.AddrPort
	version uint16 // of TLS, 0 without
	viaTLS  bool   // a trusted proxy has taken TLS off
	phase   Phase
	login   loginInfo
	backend *Backend
	why     string
	held    bool   // the place is held, and backend counts the session
	hold    uint64 // of the Placer
	tag     uint64 // of its entry; 0 up to the adoption

	giveUp context.CancelCauseFunc // ends the present try at a back end
	// abandoned is why the present try must not become a session.
	abandoned *Failure
	relaying  bool // the back end waits for an answer of the client

	// What follows belongs to the session's goroutine.

	raw    handshake.Raw
	strand *strand.Strand  // which runs it
	tls    *handshake.Conn // nil before TLS

	local      netip.AddrPort
	serverName string    // SNI, or what a trusted proxy said
	peer       string    // user of the verified client certificate
	trusted    bool      // the peer's word about the client is believed
	turn       time.Time // when the client's present login attempt could begin
	attempts   int
	relayed    bool // a challenge has been relayed: no second try any more

	ctx    context.Context // ends with a *Failure as its cause
	cancel context.CancelCauseFunc

	front sniff.Front
	in    *sniff.Driver

	guarded guard.Attempt // the present login, as the memory of failed ones sees it
	guessed bool          // a relayed login has failed, whatever became of its answer
	silent  bool          // the client has not answered a challenge of the back end
	heldFor time.Duration // the present login has been kept waiting before it was tried
	penance time.Duration // for which the answer is kept back
	quiet   bool          // it is one of many that were refused, and is not logged
	unsaid  int           // as many before it were not
}

// loginInfo is what may be shown of a login.
type loginInfo struct {
	user, key string
	mechanism sniff.Mechanism
}

// newID returns 64 random bits: they are told to back ends and must not be
// guessed where those trust them.
func newID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// serve is the straight line. A nil error means that the engine has the session.
func (s *session) serve() error {
	s.within(s.started.Add(s.b.limits.LoginTime), s.raw.SetDeadline)
	if f := s.srv.sessions.add(s, s.b.limits); f != nil {
		return f
	}
	if err := s.proxyHeader(); err != nil {
		return err
	}
	if err := s.admit(); err != nil {
		return err
	}
	if s.b.TLS == TLSImplicit {
		if err := s.handshake(); err != nil {
			return err
		}
	}
	s.open()
	for {
		login, err := s.converse() // greet, STARTTLS, credentials
		if err != nil {
			return err
		}
		server, yes, err := s.attempt(login) // place, dial, the same login again
		if err == nil {
			err = s.claimUser(server)
		}
		if err == nil {
			return s.adopt(server, yes)
		}
		if err := s.refuse(err); err != nil {
			return err
		}
	}
}

// proxyHeader learns the client's address where a trusted peer tells it.
func (s *session) proxyHeader() error {
	if !contains(s.b.ProxyNetworks, s.client.Addr()) {
		return nil
	}
	s.setPhase(PhaseProxy)
	s.within(time.Now().Add(min(proxyHeaderTime, s.b.limits.LoginTime)), s.raw.SetReadDeadline)
	p, err := readProxyHeader(s.raw)
	if err != nil {
		if cause := context.Cause(s.ctx); cause != nil {
			return cause
		}
		return &Failure{Kind: ProxyHeader, Err: err}
	}
	s.within(s.started.Add(s.b.limits.LoginTime), s.raw.SetReadDeadline)
	if p.local {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client, s.local, s.serverName, s.viaTLS = p.client, p.dest, p.authority, p.tls
	return nil
}

// admit holds the limits that are about one client or one listener.
func (s *session) admit() error {
	if f := s.b.full(s.b.stats.Open.Load()); f != nil {
		return f
	}
	var many bool
	s.trusted, many = s.b.crowd(s.client.Addr())
	s.srv.sessions.regroup(s, many)
	if many {
		return nil
	}
	if f := s.srv.sessions.claim(s, s.b.limits.PerAddress); f != nil {
		return f
	}
	return nil
}

// handshake starts TLS with the client.
func (s *session) handshake() error {
	s.setPhase(PhaseTLS)
	// Whoever ends the session sets a deadline that has passed: a context that ends would
	// take a goroutine to watch it. Who has a certificate obtained waits with the session's.
	t, err := handshake.Server(s.strand.Context(s.ctx), s.raw, s.b.secure)
	if err != nil {
		s.b.stats.TLSFailed.Add(1)
		f := s.clientFault(err)
		if f.Kind == ClientGone || f.Kind == ClientProtocol {
			f.Kind = ClientTLS
		}
		return f
	}
	state := t.ConnectionState()
	if state.NegotiatedProtocol == challengeProtocol {
		s.mu.Lock()
		s.tls = t // the CA gets a proper end
		s.mu.Unlock()
		return &Failure{Kind: Challenge}
	}
	if state.DidResume {
		s.b.stats.TLSResumed.Add(1)
	} else {
		s.b.stats.TLSFull.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls, s.version, s.serverName = t, state.Version, hostName(state.ServerName)
	if len(state.VerifiedChains) > 0 {
		s.peer = certificateUser(state.VerifiedChains[0][0])
	}
	return nil
}

// conn is what the dialogue runs over.
func (s *session) conn() net.Conn {
	if s.tls != nil {
		return s.tls
	}
	return s.raw
}

// open makes the front.
func (s *session) open() {
	s.front = s.b.Protocol.Front(sniff.FrontOptions{
		Hostname:  s.b.hostname,
		TLS:       s.tls != nil || s.viaTLS,
		StartTLS:  s.b.TLS == TLSStart,
		Plaintext: s.b.PlaintextLogin || s.viaTLS || contains(s.b.PlaintextNetworks, s.client.Addr()),
		Peer:      s.peer,
		Trusted:   s.trusted,
		Offer:     s.b.offer(),
	})
	s.in = sniff.NewDriver(s.front)
	s.turn = time.Now()
}

// converse talks with the client up to his next login.
func (s *session) converse() (*sniff.Login, error) {
	s.setPhase(PhaseLogin)
	for {
		ev, err := s.in.Drive(s.conn())
		switch {
		case err != nil:
			return nil, s.clientFault(err)
		case ev.Kind == sniff.StartTLS:
			if err := s.handshake(); err != nil {
				return nil, err
			}
			s.front.Secured(s.peer)
			s.setPhase(PhaseLogin)
		case ev.Kind == sniff.LoggingIn:
			s.believe(ev.Login.Before.ID)
			s.mu.Lock()
			s.login = loginInfo{ev.Login.User, s.srv.deps.Placer.Normal(ev.Login.User), ev.Login.Mechanism}
			s.backend, s.why = nil, "" // were an earlier login's
			s.mu.Unlock()
			return ev.Login, nil
		case ev.Kind == sniff.Quit:
			return nil, &Failure{Kind: ClientQuit}
		default:
			return nil, fail(Internal, "front: unexpected %v", ev.Kind)
		}
	}
}

// refuse answers a login that came to nothing. An error ends the session.
func (s *session) refuse(err error) error {
	s.strand.Leave() // the log may block
	f := &Failure{Kind: AuthFailed, Err: err}
	if errors.Is(err, errCancelled) { // which the front has answered
		if err := s.atone(); err != nil {
			return err
		}
	} else {
		f = asFailure(err)
		switch f.Kind {
		case ClientQuit, ClientGone, ClientTimeout, ClientProtocol, ShuttingDown, Shed, Kicked, Internal:
			s.forgo()
			return f
		default:
		}
		s.attempts++
		s.countLogin(f) // before the delay: who bans addresses is not kept waiting
		if err := s.atone(); err != nil {
			return err
		}
		s.in.Queue(func(dst []byte) []byte { return s.front.Refuse(dst, f.answer()) })
	}
	if s.attempts >= maxAttempts || f.Kind == Guarded {
		last := f.answer()
		if f.Kind == AuthFailed {
			last = sniff.Refusal{Code: sniff.Limit, Text: "Too many failed logins."}
		}
		s.in.Queue(func(dst []byte) []byte { return s.front.Goodbye(dst, last) })
		_ = s.in.Flush(s.conn()) // the session ends either way
		return f
	}
	s.relayed = false
	s.turn, s.heldFor = time.Now(), 0
	return nil
}

// adopt answers yes and gives both connections to the engine.
func (s *session) adopt(server *link, yes *acceptance) error {
	s.srv.sessions.loggedIn(s) // first: who has been let in makes room for nobody
	s.setPhase(PhaseAnswer)
	if !s.srv.deps.Engine.Secures() || stays(s.tls) || stays(server.tls) {
		s.strand.Leave() // goroutines will move its bytes
	}
	s.in.Queue(func(dst []byte) []byte { return s.front.Accept(dst, yes.Acceptance) })
	err := s.in.Flush(s.conn())
	s.countLogin(nil) // the back end has let him in and logged it, whether he has waited for the answer or not
	if err != nil {
		server.close()
		s.letGo()
		return s.clientFault(err)
	}
	pair := forward.Pair{
		Client: forward.Conn{Raw: ordinary(s.raw)}, Server: forward.Conn{Raw: ordinary(server.raw)},
		ToServer: s.in.Rest(), ToClient: yes.rest, Done: s.srv.done,
	}
	if f := detachBoth(&pair, s.tls, server.tls, &s.srv.handshakes); f != nil {
		server.close()
		return f
	}
	_ = server.raw.SetDeadline(time.Time{})
	s.b.stats.LoggedIn.Add(1)
	pair.Tag = s.establish()
	flow := s.srv.deps.Engine.Adopt(pair)
	if s.srv.sessions.flowing(pair.Tag, flow) {
		flow.Kill()
	}
	return nil
}

// establish makes an entry of the session, to which its place belongs then. Who
// wanted the session to end up to now has told the session, who wants it later
// will tell the entry.
//
// No deadline goes along, not even that by which somebody stopped the session: to
// the engine it would look like a client that is lost.
func (s *session) establish() (tag uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.raw.SetDeadline(time.Time{})
	end := s.abandoned
	if cause := context.Cause(s.ctx); cause != nil {
		end = asFailure(cause)
	}
	s.tag = s.srv.sessions.establish(s, end)
	s.held = false
	s.giveUp(nil) // nobody waits for either any more
	s.cancel(nil)
	return s.tag
}

// letGo gives the user's place back.
func (s *session) letGo() {
	s.mu.Lock()
	held := s.held
	s.held = false
	if s.giveUp != nil {
		s.giveUp(nil)
		s.giveUp = nil
	}
	s.mu.Unlock()
	if held {
		s.srv.letGo(s.backend, s.hold)
	}
}
