// Package peers starts what is measured: usher, and the programs that people use
// in its place, each tuned as its manual says and by what was measured, each with
// the same duty.
//
// The duty: TLS 1.3 with TLS_AES_128_GCM_SHA256 and X25519, tickets for resumption,
// as many workers as there are cores, no line of log for a session, TCP keep-alive
// where it can be had, a long queue of connections, and the client's address told to
// the back end in a PROXY header where the program can do that. What each can not,
// [Peer.Serves] and [Peer.Note] say. The configurations are the files in conf,
// with the reason of every setting.
//
// Laws: nothing of the system's own configuration is read, nothing is started that
// outlives [Target.Stop], and a target has a loopback address of its own, so that its ports
// cannot be taken by a client's connection.
package peers

import (
	"context"
	"crypto/tls"

	"usher.example/bench/gauge"
)

// ServerName is the name in the certificate that all targets show.
const ServerName = "mail.bench.example"

// A Site is what all targets have in common.
type Site struct {
	Dir               string // a directory for files of the targets, which others may enter
	CertFile, KeyFile string // what clients are shown, PEM
	SinkIMAP          string // address and port of the back end's IMAP, without TLS
	SinkPOP3          string // and of its POP3, at the same address
	Workers           int    // processes or threads of a target; 0: one for each core
	Usher             string // path of usher's binary
	Self              string // path of a program that has the commands auth and naive
}

// A Peer is a program that can be measured.
type Peer struct {
	Name string
	// Note says what a reader has to know of it beside its figures.
	Note string
	// KnowsUser is whether it reads the user's name, so that it could place him.
	// Those that do not move octets only, and are asked for less.
	KnowsUser bool
	// Curve is the only group that it is to be asked for.
	Curve tls.CurveID
	// Serves reports whether it has a protocol ("imap", "pop3") with a security
	// ("tls", "starttls", "plain").
	Serves func(protocol, security string) bool
	// Version says which it is. An error says that it is missing, and how to get it.
	Version func() (string, error)
	// Start starts it, and returns when a user has been logged in by each of its
	// ports. An error holds the end of what it logged.
	Start func(ctx context.Context, site Site) (*Target, error)
}

// A Target is a peer that runs.
type Target struct {
	// Group is its processes; it has none where there is no proxy (direct).
	Group *gauge.Group
	// Addr is where a protocol is served with a security; only for what the peer Serves.
	Addr func(protocol, security string) string
	// Aside is a helping process whose cost is not the peer's own: the server that
	// nginx asks about users. Nil if there is none.
	Aside *gauge.Group

	place *place
}

// Stop ends the target and what is aside of it, waits for that, and removes its
// files.
func (t *Target) Stop() error { return t.place.close((*gauge.Group).Stop) }

// Kill ends it as the death of its machine would, at once.
func (t *Target) Kill() error { return t.place.close((*gauge.Group).Kill) }

// All are the peers, usher first, in the order of tables.
func All() []Peer {
	return []Peer{
		usher("usher", "auto"),
		usher("usher-copy", "copy"),
		haproxy("haproxy", 0),
		haproxy("haproxy-64k", 64<<10),
		nginxMail("nginx-mail", "4k"),
		nginxMail("nginx-mail-16k", "16k"),
		nginxStream(),
		dovecot(),
		perdition(),
		stunnel(),
		hitch(),
		naive(),
		direct(),
	}
}

// Protocols and securities.
const (
	imap     = "imap"
	pop3     = "pop3"
	implicit = "tls"
	starttls = "starttls"
	plain    = "plain"
)

func everything(string, string) bool { return true }

// noStartTLS is what can be served without a word of the protocol.
func noStartTLS(_, security string) bool { return security != starttls }

// tlsOnly is what those serve that do nothing but TLS.
func tlsOnly(_, security string) bool { return security == implicit }
