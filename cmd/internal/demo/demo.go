// Package demo is a small mail site on loopback addresses, for `usher demo`: a
// certificate authority, three IMAP back ends with one storage, a dozen users
// with their mail program, and the usher.toml that fits. It has everything but
// usher, of which it knows nothing.
//
// Laws:
//   - It needs no privileges, no network and no file outside its folder.
//     [Site.Close] leaves neither goroutine nor port nor file behind.
//   - A back end proves itself. Who served a login is told by a mail that the
//     back end puts into the user's INBOX, never by the balancer.
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
// laptop would take its own pauses for outages.
const (
	ProbeInterval = 500 * time.Millisecond
	ProbeFall     = 3
	ProbeRise     = 2
)

// loopback is where everything listens.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// names are the users, after people to whom computing owes something.
var names = []string{
	"ada", "alan", "barbara", "dennis", "edsger", "frances",
	"grace", "hedy", "john", "katherine", "leslie", "margaret",
}

// A Site is a mail site without its balancer.
type Site struct {
	// Dir is the folder that has all files of the site.
	Dir string
	// Users are the addresses by which users log in.
	Users []string
	// Password is that of all users, made for this site.
	Password string
	// Backends serve all users from one storage.
	Backends []*Backend
	// IMAPS, IMAP and HTTP are where the balancer is to listen: implicit TLS,
	// STARTTLS, health and metrics. [Site.Configure] sets them.
	IMAPS, IMAP, HTTP netip.AddrPort

	roots *x509.CertPool
}

// Open makes a site in a new folder below the one for temporary files, and
// starts its back ends.
func Open() (*Site, error) {
	dir, err := os.MkdirTemp("", "usher-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &Site{Dir: dir, Password: rand.Text()}
	for _, name := range names {
		s.Users = append(s.Users, name+"@"+Domain)
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
	mail, err := newStorage(s.Users, s.Password)
	if err != nil {
		return err
	}
	for _, b := range []*Backend{{Name: "alpha", Weight: 100}, {Name: "beta", Weight: 100}, {Name: "gamma", Weight: 200}} {
		if b.cert, err = ca.issue(b.host(), b.host()); err != nil {
			return err
		}
		b.mail = mail
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

// ConfigFile is the usher.toml.
func (s *Site) ConfigFile() string { return s.file("usher.toml") }

// Socket is where the configuration wants the admin socket.
func (s *Site) Socket() string { return s.file("usher.sock") }

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
