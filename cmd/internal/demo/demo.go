// Package demo is a small mail site on loopback addresses, for `usher demo`: a
// certificate authority, three IMAP back ends with one storage, a dozen users
// with their mail program, and the usher.toml that fits for each node of a fleet.
// It has everything but usher, of which it knows nothing.
//
// Laws:
//   - It needs no privileges, no network and no file outside its folder.
//     [Site.Close] leaves neither goroutine nor port nor file behind.
//   - A back end proves itself. Who served a login is told by a mail that the
//     back end puts into the user's INBOX, never by the balancer; and who is
//     logged in where, by the back ends' own record, see [Site.Twice].
//   - Every connection is TLS and verified, that of users to the balancer and
//     that of the balancer to back ends. The authority's key is never written.
package demo

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// Host is the name by which clients call the balancer. Every machine knows
	// it without asking anybody (RFC 6761 §6.3).
	Host = "localhost"
	// Domain is that of users and back ends. Nobody can own it (RFC 2606 §3).
	Domain = "demo.example"
	// Pool is the name of the pool of back ends.
	Pool = "main"
)

// Intervals of the health checks in the site's usher.toml. They are shorter
// than on a real site, so that a demonstration need not wait; below, a busy
// laptop, with three ushers that probe all the time, would take its own pauses
// for outages.
const (
	ProbeInterval = 600 * time.Millisecond
	ProbeFall     = 4
	ProbeRise     = 2
)

// KickDelay is what a back end may need to finish with a user. These need next to
// nothing, and a demonstration need not wait.
const KickDelay = 200 * time.Millisecond

// loopback is where everything listens.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// names are the users, after people to whom computing owes something.
var names = []string{
	"ada", "alan", "barbara", "dennis", "edsger", "frances",
	"grace", "hedy", "john", "katherine", "leslie", "margaret",
}

const (
	// guests is how many users there are besides the dozen. Where users are at
	// home is another thing in every fleet: of so many, some are at home on any
	// back end but once in 10^7 runs.
	guests = 60
	// nodes is how many balancers there are.
	nodes = 3
)

// A Site is a mail site without its balancers.
type Site struct {
	// Dir is the folder that has all files of the site.
	Dir string
	// Users are the addresses by which users log in.
	Users []string
	// Guests are more of them, for whoever needs one with a certain home.
	Guests []string
	// Password is that of all users, made for this site.
	Password string
	// Backends serve all users from one storage.
	Backends []*Backend
	// Nodes are the balancers.
	Nodes []*Node

	roots *x509.CertPool
	seats *seats
}

// Open makes a site in a new folder below the one for temporary files, and
// starts its back ends.
func Open() (*Site, error) {
	dir, err := os.MkdirTemp("", "usher-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &Site{Dir: dir, Password: rand.Text(), seats: newSeats()}
	for _, name := range names {
		s.Users = append(s.Users, name+"@"+Domain)
	}
	for i := range guests {
		s.Guests = append(s.Guests, fmt.Sprintf("guest%d@%s", i+1, Domain))
	}
	for i := range nodes {
		s.Nodes = append(s.Nodes, &Node{Name: fmt.Sprintf("usher%d", i+1), site: s})
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Site) open() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	s.roots = ca.pool()
	cert, err := ca.issue(Host, Host, loopback.String())
	if err != nil {
		return err
	}
	if err := errors.Join(ca.write(s.CAFile()), writePair(s.certFile(), s.keyFile(), cert)); err != nil {
		return err
	}
	mail, err := newStorage(slices.Concat(s.Users, s.Guests), s.Password)
	if err != nil {
		return err
	}
	for _, b := range []*Backend{{Name: "alpha", Weight: 100}, {Name: "beta", Weight: 100}, {Name: "gamma", Weight: 200}} {
		if b.cert, err = ca.issue(b.host(), b.host()); err != nil {
			return err
		}
		b.mail, b.seats = mail, s.seats
		b.addr = netip.AddrPortFrom(loopback, 0)
		s.Backends = append(s.Backends, b)
		if err := b.Start(); err != nil {
			return err
		}
	}
	return s.Configure()
}

// CAFile is the certificate of the authority, PEM.
func (s *Site) CAFile() string { return s.file("ca.pem") }

// SecretFile is where the balancers look for what they all know. Whoever starts
// them writes it.
func (s *Site) SecretFile() string { return s.file("fleet.secret") }

// LogFile is a place for usher's log.
func (s *Site) LogFile() string { return s.file("usher.log") }

func (s *Site) certFile() string { return s.file("usher.pem") }
func (s *Site) keyFile() string  { return s.file("usher.key") }

func (s *Site) file(name string) string { return filepath.Join(s.Dir, name) }

// Close stops the back ends and removes the folder with all that is in it.
func (s *Site) Close() error {
	for _, b := range s.Backends {
		b.Stop()
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("remove the folder: %w", err)
	}
	return nil
}
