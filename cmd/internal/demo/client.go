package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// clientPatience bounds a login, and each question after it. On loopback it
// takes milliseconds; a machine that compiles something may need a second.
const clientPatience = 10 * time.Second

// An Entrance is a listener of the balancer.
type Entrance struct {
	Address  string
	StartTLS bool // by command, otherwise TLS from the first byte
}

// A Login is a user's session, seen from his mail program.
type Login struct {
	User string // as it was written
	// Backend is the name that the back end gave itself.
	Backend string
	TLS     string // version of TLS to the balancer

	client *imapclient.Client
}

// LogIn logs a user in, over TLS that is verified for [Host]. It returns when
// the back end has proved who it is: in the user's INBOX is a mail from it
// about this very connection.
func (s *Site) LogIn(ctx context.Context, e Entrance, user string) (*Login, error) {
	ctx, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	l, err := s.logIn(ctx, e, user)
	if err != nil {
		return nil, fmt.Errorf("log %s in at %s: %w", user, e.Address, err)
	}
	return l, nil
}

func (s *Site) logIn(ctx context.Context, e Entrance, user string) (*Login, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return nil, err
	}
	own := conn.LocalAddr().String()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	client, version, err := s.secure(ctx, conn, e)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	l := &Login{User: user, TLS: version, client: client}
	if err = client.Login(user, s.Password).Wait(); err == nil {
		l.Backend, err = l.served(own)
	}
	if err != nil {
		l.Cut()
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return l, nil
}

// secure starts TLS and says which version it became.
func (s *Site) secure(ctx context.Context, conn net.Conn, e Entrance) (*imapclient.Client, string, error) {
	var version uint16
	cfg := &tls.Config{RootCAs: s.roots, ServerName: Host, VerifyConnection: func(state tls.ConnectionState) error {
		version = state.Version
		return nil
	}}
	if e.StartTLS {
		client, err := imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: cfg})
		return client, tls.VersionName(version), err
	}
	cfg.NextProtos = []string{"imap"} // RFC 7301, as registered
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, "", err
	}
	return imapclient.New(secured, nil), tls.VersionName(version), nil
}

// served finds the mail about the connection with that address of ours, and
// returns the name of its sender.
func (l *Login) served(own string) (string, error) {
	if _, err := l.client.Select(inbox, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		return "", fmt.Errorf("open INBOX: %w", err)
	}
	found, err := l.client.UIDSearch(&imap.SearchCriteria{
		Header: []imap.SearchCriteriaHeaderField{{Key: clientField, Value: own}},
	}, nil).Wait()
	if err != nil {
		return "", fmt.Errorf("search INBOX: %w", err)
	}
	uids := found.AllUIDs()
	if len(uids) == 0 {
		return "", fmt.Errorf("no back end has seen a client at %s", own)
	}
	newest := imap.UIDSetNum(uids[len(uids)-1]) // an older one had the same port
	mails, err := l.client.Fetch(newest, &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil {
		return "", fmt.Errorf("fetch the back end's mail: %w", err)
	}
	if len(mails) != 1 || mails[0].Envelope == nil || len(mails[0].Envelope.From) != 1 {
		return "", errors.New("the back end's mail has no sender")
	}
	return mails[0].Envelope.From[0].Name, nil
}

// Alive asks the back end whether the session still is.
func (l *Login) Alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	stop := context.AfterFunc(ctx, l.Cut)
	defer stop()
	if err := l.client.Noop().Wait(); err != nil {
		return fmt.Errorf("session of %s on %s: %w", l.User, l.Backend, err)
	}
	return nil
}

// Ended is closed when the session is, by whomever.
func (l *Login) Ended() <-chan struct{} { return l.client.Closed() }

// LogOut ends the session and waits for the goodbye.
func (l *Login) LogOut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	stop := context.AfterFunc(ctx, l.Cut)
	defer stop()
	defer l.Cut()
	if err := l.client.Logout().Wait(); err != nil {
		return fmt.Errorf("log %s out: %w", l.User, err)
	}
	return nil
}

// Cut closes the connection without a word.
func (l *Login) Cut() { _ = l.client.Close() }
