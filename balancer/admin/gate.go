package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// GateOptions say who may use the API over TCP. All of it is read again by Prepare.
type GateOptions struct {
	// CertFile and KeyFile are the server's certificate with its chain, and its key, in
	// PEM. They are looked at again when one of them has changed, too.
	CertFile, KeyFile string
	// ClientCAFile has the CAs, in PEM, whose certificates identify clients. Empty: no
	// client is asked for one.
	ClientCAFile string
	// TokenFile has the tokens (see ParseTokens). Empty: none, and without a certificate
	// nobody finishes a handshake.
	TokenFile string
	// Operators and Readers say by its subject what role a client's certificate has: "*"
	// for every one, "CN=ann", "OU=mail" or "O=Example", or a common name alone. No
	// Readers: all who are no Operators.
	Operators, Readers []string
}

// A Gate lets those use the API over TCP who can say who they are. Its methods are safe
// for concurrent use.
type Gate struct {
	log      *slog.Logger
	rules    atomic.Pointer[gateRules]
	crowd    atomic.Pointer[crowd] // of Listen
	failures [len(gateFailures)]atomic.Uint64
	loud     limiter
}

// gateRules are what a Gate goes by until the next reload.
type gateRules struct {
	o      GateOptions
	pair   *pairFile
	cas    *x509.CertPool // nil: no certificates of clients
	tokens Tokens
	in     context.Context // ends when others have taken their place
	end    context.CancelFunc
}

// gateFailures are the reasons why somebody was not let in.
var gateFailures = [...]string{"missing", "token", "certificate", "subject", "origin"}

const (
	failedMissing     = iota // he has not said who he is
	failedToken              // no token that is known
	failedCertificate        // no certificate of our CA that is valid
	failedSubject            // a good certificate, and no role for its subject
	failedOrigin             // a page of another site has sent the browser
)

// maxCA bounds a file of CAs, in octets: the system's bundle has a quarter of it.
const maxCA = 1 << 20

// NewGate reads the files. Nil log: slog.Default.
func NewGate(o GateOptions, log *slog.Logger) (*Gate, error) {
	if log == nil {
		log = slog.Default()
	}
	g := &Gate{log: log, loud: limiter{every: loudEvery}}
	commit, err := g.Prepare(o)
	if err != nil {
		return nil, err
	}
	commit()
	return g, nil
}

// Prepare reads the files again, and returns a function that has the gate go by them; on
// an error it goes on as before. Answers that are on their way are completed, but streams
// end and whoever read them has to say once more who he is.
func (g *Gate) Prepare(o GateOptions) (commit func(), err error) {
	r := &gateRules{o: o}
	if r.pair, err = openPair(o.CertFile, o.KeyFile, g.log); err != nil {
		return nil, err
	}
	if o.ClientCAFile != "" {
		if r.cas, err = readCAs(o.ClientCAFile); err != nil {
			return nil, err
		}
	}
	if o.TokenFile != "" {
		if r.tokens, err = ReadTokens(o.TokenFile); err != nil {
			return nil, err
		}
	}
	if o.ClientCAFile == "" && o.TokenFile == "" {
		return nil, errors.New("nobody could use the API over TCP: give it client_ca_file or token_file")
	}
	return func() {
		r.in, r.end = context.WithCancel(context.Background())
		if before := g.rules.Swap(r); before != nil {
			before.end()
		}
	}, nil
}

func readCAs(path string) (*x509.CertPool, error) {
	text, err := readFile(path, maxCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return pool, nil
}

// Listen opens the port. The one who calls it hands it to Serve.
func (g *Gate) Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &crowd{Listener: l}
	g.crowd.Store(c)
	return tls.NewListener(c, g.config()), nil
}

// config is TLS 1.2 and 1.3 with Go's choice of ciphers. Sessions are not resumed: each
// connection shows its certificate, and who asks comes seldom. HTTP is 1.1: it has one
// question at a time on a connection, so that the bounds of connections bound the work.
func (g *Gate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			r := g.rules.Load()
			crt, err := r.pair.get()
			if err != nil {
				return nil, err
			}
			c := &tls.Config{
				MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
				Certificates: []tls.Certificate{*crt}, SessionTicketsDisabled: true,
			}
			if r.cas == nil {
				return c, nil
			}
			// It is verified by us and not by crypto/tls, so that failures are counted.
			c.ClientCAs, c.ClientAuth = r.cas, tls.RequestClientCert
			if r.o.TokenFile == "" {
				c.ClientAuth = tls.RequireAnyClientCert
			}
			from := hello.Conn.RemoteAddr().String()
			c.VerifyConnection = func(s tls.ConnectionState) error {
				if len(s.PeerCertificates) == 0 {
					return nil // then it is not required
				}
				err := r.verify(s.PeerCertificates, time.Now())
				if err != nil {
					g.failed(failedCertificate, from, err)
				}
				return err
			}
			return c, nil
		},
	}
}

// verify tells whether a CA of ours has made a client's certificate, and it is valid now.
func (r *gateRules) verify(chain []*x509.Certificate, now time.Time) error {
	if r.cas == nil {
		return errors.New("no certificates of clients are taken")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: r.cas, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// loudEvery is the time between two lines of the log about callers that were not let in.
const loudEvery = 10 * time.Second

// failed counts one who was not let in, and logs it now and then.
func (g *Gate) failed(why int, from string, err error) {
	g.failures[why].Add(1)
	if why == failedMissing {
		g.log.Debug("somebody asked the API without saying who he is", "client", from)
		return
	}
	if more, ok := g.loud.pass(time.Now()); ok {
		g.log.Warn("a caller of the API was not let in", "event", "api_refused", "client", from, "reason", gateFailures[why], "err", err, "more_since_last", more)
	}
}

// A limiter lets one pass in a while, and counts the others.
type limiter struct {
	every time.Duration

	mu   sync.Mutex // guards what follows
	last time.Time
	held uint64
}

// pass says whether this one passes, and how many did not since the last.
func (l *limiter) pass(now time.Time) (held uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < l.every {
		l.held++
		return 0, false
	}
	held, l.held, l.last = l.held, 0, now
	return held, true
}

// collect shows what is counted; of no gate, zeros.
func (g *Gate) collect(e emitter) {
	if g == nil {
		g = new(Gate)
	}
	for i, reason := range gateFailures {
		e.counter(apiRefused, g.failures[i].Load(), reason)
	}
	var now, shed uint64
	if c := g.crowd.Load(); c != nil {
		now, shed = uint64(c.count()), c.shed.Load()
	}
	e.gauge(apiConnections, float64(now))
	e.counter(apiShed, shed)
}
