// Package certs keeps the certificates that clients are shown: it reads, obtains,
// renews and chooses them.
//
// A [Keeper] serves all listeners of a node. Where certificates come from are
// shelves: files that are watched, certificates that the fleet obtained from a CA
// (ACME, RFC 8555), and those that an administrator brought into the fleet.
//
// Laws: a certificate that is served stays until a better one is whole (chain
// parsed, key fits); nothing that fails takes away what is served; a choice for a
// client waits for nobody, reads no file and asks nobody; names that strangers
// make up cost no memory, but where they may ask for certificates ([Source.OnDemand]):
// there as many are remembered as orders may be made; a private key is never logged.
package certs

import (
	"log/slog"
	"time"

	"github.com/caddyserver/certmagic"
)

// Options are what a Keeper needs of its surroundings.
type Options struct {
	// Log gets what an administrator should know: obtained, renewed, failed.
	Log *slog.Logger

	// Storage is where the fleet keeps certificates and ACME accounts. Nil:
	// nothing is obtained or brought, files only.
	Storage certmagic.Storage

	// Volatile says that Storage is lost with the process. Then nothing can be
	// brought, and whatever is to be obtained is warned of: CAs limit how many
	// certificates they give, and each start orders all.
	Volatile bool
}

// A Plan is what a configuration asks of a Keeper.
type Plan struct {
	// Listeners by name; those without TLS are not here.
	Listeners map[string]Listener

	// ACME says how certificates are obtained.
	ACME ACME
}

// A Listener is what one listener shows its clients.
type Listener struct {
	// Sources in order of preference; the first certificate of the first is
	// shown to clients whose SNI fits none.
	Sources []Source
}

// A Source is where certificates come from. Exactly one kind is set.
type Source struct {
	CertFile, KeyFile string   // a pair, PEM
	Directory         string   // of pairs, PEM
	Names             []string // obtained by ACME, managed
	OnDemand          []string // patterns of names that may be obtained when a client asks
	Imported          bool     // what an administrator brought into the fleet
}

// A Status is one certificate, or the want of one, as an administrator sees it.
type Status struct {
	ID          string       // stable short name, for commands: the first 6 octets of the fingerprint; of one that is wanted, of what is wanted
	Listeners   []string     // that serve it
	Names       []string     // it is valid for
	Source      string       // "file", "acme", "imported"
	From        string       // the file, or the CA
	Key         string       // such as "ECDSA P-256"
	Issuer      string       // as in the certificate
	Serial      string       // hexadecimal
	Fingerprint string       // SHA-256 of the certificate, hexadecimal
	NotBefore   time.Time    // zero: there is no certificate yet
	NotAfter    time.Time    //
	Ending      bool         // it ends soon, or has, and nothing replaces it: see why it was not renewed
	OnDemand    bool         // a client has asked for it, no configuration names it
	RenewAt     time.Time    // when it will be renewed; zero: not by usher
	Problem     string       // why the newest try failed, and what to do; empty if it did not
	Chain       []*ChainLink // leaf first
}

// A ChainLink is one certificate of a chain.
type ChainLink struct {
	Subject, Issuer string
	NotAfter        time.Time
}
