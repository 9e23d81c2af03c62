package certs

import (
	"context"
	"crypto/tls"
	"sync/atomic"
)

// A Keeper holds the certificates of a node. Any number of goroutines may use it.
type Keeper struct {
	options Options
	serving atomic.Pointer[map[string][]shelf] // by listener

	registrar *registrar // what obtains certificates
}

// New makes a Keeper that has nothing yet.
func New(o Options) *Keeper { return &Keeper{options: o, registrar: newRegistrar(o)} }

// Apply puts a plan into force. After an error the one before stays, whole.
func (k *Keeper) Apply(p Plan) error { return nil }

// Run watches and renews until ctx ends.
func (k *Keeper) Run(ctx context.Context) { <-ctx.Done() }

// Config returns what a listener's handshakes are done with. It follows later
// plans: there is no need to ask again. Its GetCertificate chooses among the
// listener's certificates.
func (k *Keeper) Config(listener string) *tls.Config { return &tls.Config{} }

// List says what certificates there are and what is wrong with them.
func (k *Keeper) List() []Status { return nil }
