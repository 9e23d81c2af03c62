// Package dovecot starts real Dovecot 2.3 servers for tests: as many as a test
// wants, side by side, each on a loopback address of its own, with its own
// configuration, state and log in a temporary folder.
//
// It is a test harness and nothing else: it never reads or writes the system's
// own Dovecot. Laws: a [Server] touches only processes of the process group
// that it made; whatever a test leaves running dies with the test, and with the
// test's process; nothing waits without a limit; nothing listens outside of
// 127.77.0.0/16.
//
// A machine without Dovecot skips such tests aloud, except where skipping would
// hide a hole: see [Require].
package dovecot

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// DefaultPassword is every user's password when [Options] names no other.
const DefaultPassword = "secret"

// MasterSeparator stands between user and master user in a master login:
// "joe*boss".
const MasterSeparator = "*"

// Options say what kind of server a test wants. The zero value is a server that
// takes any user with [DefaultPassword], by any password mechanism, with or
// without TLS.
type Options struct {
	// Name is the server's name in its greeting and in process lists. Zero
	// means "dovecot".
	Name string

	// Address is where it listens. The zero Addr means a free one.
	Address netip.Addr

	// Storage is where mail is kept; several servers given the same one share
	// their users' mailboxes. Nil means a storage of its own.
	Storage *Storage

	// Password is every user's password. Zero means [DefaultPassword].
	Password string

	// Users names the only users there are, with their passwords. Nil means
	// that every name is a user with Password.
	Users map[string]string

	// Masters are the master users with their passwords, who log in for a
	// user as "user*master", or by PLAIN with an authorization identity. Nil
	// means none.
	Masters map[string]string

	// Tokens are the bearer tokens that are valid, each with its user's name.
	// Nil means that neither XOAUTH2 nor OAUTHBEARER is offered.
	Tokens map[string]string

	// Mechanisms are the SASL mechanisms offered, as Dovecot spells them. Nil
	// means PLAIN, LOGIN, SCRAM-SHA-1 and SCRAM-SHA-256, with XOAUTH2 and
	// OAUTHBEARER if there are Tokens, and EXTERNAL if it is asked for.
	Mechanisms []string

	// Authority signs the server's certificate, and what clients show. Nil
	// means an authority of its own.
	Authority *Authority

	// HostNames are put into the server's certificate beside its address.
	// Nil means "localhost".
	HostNames []string

	// RequireTLS refuses to take a password before TLS.
	RequireTLS bool

	// RequireClientCertificate refuses the logins of TLS clients that show no
	// certificate of Authority.
	RequireClientCertificate bool

	// External offers EXTERNAL: the common name of a client's certificate is
	// the user's name, whatever name the client gives.
	External bool

	// ProxyNetworks are the networks whose PROXY headers are believed.
	// Zero means 127.0.0.0/8.
	ProxyNetworks string

	// TrustedNetworks are the networks whose ID x-originating-ip and XCLIENT
	// are believed, and which Dovecot takes for secure without TLS. Zero means
	// none.
	TrustedNetworks string

	// FailureDelay is how long an answer to a wrong password is held back.
	// Dovecot looks at a clock of whole seconds, so that up to a second may be
	// missing; zero means its least, half a second.
	FailureDelay time.Duration

	// Extra is put at the end of the configuration, where it overrides the
	// settings above it.
	Extra string
}

// A Server is one running Dovecot. Its fields are read-only. Its methods may be
// called from several goroutines, except those that start and end processes.
type Server struct {
	// Address is the loopback address that is this server's alone.
	Address netip.Addr

	// Storage is where its mail is; Deliver puts more there.
	*Storage

	// Authority signed the server's certificate.
	Authority *Authority

	// Addresses (host:port) of the listeners, without a PROXY header.
	IMAP, IMAPS, POP3, POP3S string

	// Addresses of the listeners that demand a PROXY header.
	ProxyIMAP, ProxyIMAPS, ProxyPOP3, ProxyPOP3S string

	opts   Options
	dir    string // configuration, sockets, log
	tokens *tokenServer
	proc   *process // nil when stopped
}

// Start starts a server and returns once it greets on IMAP and POP3. It skips
// or fails the test by the rule of [Require]. The server ends with the test; if
// the test failed, the end of the server's log is shown.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	Require(t)

	opts.setDefaults(t)
	tokens, err := listenTokens(opts.Address, opts.Tokens)
	if err != nil {
		t.Fatalf("reserve an address: %v", err)
	}
	t.Cleanup(tokens.close)

	s := &Server{
		Address:   tokens.addr,
		Storage:   opts.Storage,
		Authority: opts.Authority,
		opts:      opts,
		dir:       makeDir(t),
		tokens:    tokens,
	}
	for name, field := range map[string]*string{
		"imap": &s.IMAP, "imaps": &s.IMAPS, "imap-proxy": &s.ProxyIMAP, "imaps-proxy": &s.ProxyIMAPS,
		"pop3": &s.POP3, "pop3s": &s.POP3S, "pop3-proxy": &s.ProxyPOP3, "pop3s-proxy": &s.ProxyPOP3S,
	} {
		i := slices.IndexFunc(listeners, func(l listener) bool { return l.Name == name })
		*field = netip.AddrPortFrom(s.Address, listeners[i].Port).String()
	}
	cert := opts.Authority.Server(t, append([]string{s.Address.String()}, opts.HostNames...)...)
	certFile, keyFile := opts.Authority.WriteFiles(t, cert)
	if err := s.writeConfig(certFile, keyFile); err != nil {
		t.Fatalf("configure Dovecot: %v", err)
	}
	t.Cleanup(func() {
		s.Kill9(t)
		if t.Failed() {
			t.Logf("end of the log of %s on %s:\n%s", s.opts.Name, s.Address, s.logTail())
		}
	})
	s.start(t)
	return s
}

func (o *Options) setDefaults(t testing.TB) {
	t.Helper()
	if o.Name == "" {
		o.Name = "dovecot"
	}
	if o.Storage == nil {
		o.Storage = NewStorage(t)
	}
	if o.Password == "" {
		o.Password = DefaultPassword
	}
	if o.Mechanisms == nil {
		o.Mechanisms = []string{"plain", "login", "scram-sha-1", "scram-sha-256"}
		if o.Tokens != nil {
			o.Mechanisms = append(o.Mechanisms, "xoauth2", "oauthbearer")
		}
		if o.External {
			o.Mechanisms = append(o.Mechanisms, "external")
		}
	}
	if o.Authority == nil {
		o.Authority = NewAuthority(t)
	}
	if o.HostNames == nil {
		o.HostNames = []string{"localhost"}
	}
	if o.ProxyNetworks == "" {
		o.ProxyNetworks = "127.0.0.0/8"
	}
}

// Doveadm runs Dovecot's administration command on this server and returns what
// it printed: srv.Doveadm(t, "who").
func (s *Server) Doveadm(t testing.TB, args ...string) string {
	t.Helper()
	program, err := find("doveadm")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-c", s.file("dovecot.conf")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("doveadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// makeDir makes a folder that Dovecot's unprivileged processes can enter, with
// a name short enough for the unix sockets in it (108 octets): t.TempDir has
// neither property.
func makeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "usher-dovecot-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove Dovecot's folder: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// seconds rounds up: Dovecot counts in whole seconds, and a test that asked for
// a delay wants one.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d+time.Second-1)/time.Second)) + " secs"
}
