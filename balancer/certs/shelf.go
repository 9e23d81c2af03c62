package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

// A shelf holds certificates of one kind of source. All methods may be called
// concurrently; match is on the way of every handshake, so it waits for nobody.
type shelf interface {
	// match returns certificates for a canonical name, exactly or by wildcard,
	// the best first. With the empty name it returns all that may be shown to
	// a client without SNI, the first choice first. Each has its Leaf set.
	match(name string) []*tls.Certificate
	// list is what there is, for people.
	list() []Status
	// run does what the shelf does in the background until ctx ends.
	run(ctx context.Context)
}

// A greeter is a shelf that wants to see whole hellos of clients for whose name
// nobody has a certificate. It says whether the answer is its own, which an error is,
// too. It alone may have a client wait.
type greeter interface {
	hello(hello *tls.ClientHelloInfo) (*tls.Certificate, bool, error)
}

// A rereader is a shelf that a new plan makes read again, also the first time.
// What was read is not shown before adopt is called, and not at all if it is not.
type rereader interface {
	reread() (adopt func(), err error)
}

// shelf makes the shelf of a source. It is told of the certificates' fate by
// options.Log, and has the fleet's in options.Storage.
func (k *Keeper) shelf(s Source) (shelf, error) {
	switch {
	case s.CertFile != "":
		return newFiles(&pairReader{certFile: s.CertFile, keyFile: s.KeyFile}, k.options.Log), nil
	case s.Directory != "":
		return newFiles(&folderReader{root: s.Directory}, k.options.Log), nil
	case len(s.Names) > 0, len(s.OnDemand) > 0:
		return k.registrar.shelf(s), nil
	case s.Imported && k.options.Storage == nil:
		return nil, errNoStorage
	case s.Imported:
		return newImported(k.options.Storage, k.options.Log), nil
	default:
		return nil, errors.New("a source of certificates of no kind")
	}
}

// key is what sources are told apart by: those of equal keys share a shelf, also
// over a change of plan.
func (s Source) key() string {
	return fmt.Sprintf("%q %q %q %q %q %v", s.CertFile, s.KeyFile, s.Directory, s.Names, s.OnDemand, s.Imported)
}
