package balancer

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"usher.example/balancer/handshake"
	"usher.example/sniff"
)

// A Pool is a group of back ends that users are spread over.
type Pool struct {
	options  PoolOptions
	backends []*Backend
	byName   map[string]*Backend

	mu     sync.Mutex             // guards offers
	offers map[string]sniff.Offer // by protocol, until something new is learnt
}

// newPool checks o and takes over what is known of back ends that were in old
// (which may be nil) under the same name and at the same address.
func (srv *Server) newPool(o PoolOptions, old *Pool) (*Pool, error) {
	p := &Pool{options: o, byName: make(map[string]*Backend)}
	var errs []error
	if len(o.Backends) == 0 {
		errs = append(errs, fmt.Errorf("pool %s has no back ends", o.Name))
	}
	for _, bo := range o.Backends {
		if p.byName[bo.Name] != nil {
			errs = append(errs, fmt.Errorf("pool %s has two back ends %s", o.Name, bo.Name))
			continue
		}
		if bo.TLS != TLSNone && bo.Config == nil {
			errs = append(errs, fmt.Errorf("back end %s has no TLS configuration", bo.Name))
		}
		b := &Backend{BackendOptions: bo, pool: o.Name, state: new(backendState)}
		if old != nil {
			if was := old.byName[bo.Name]; was != nil && was.Host == bo.Host && maps.Equal(was.Ports, bo.Ports) && was.TLS == bo.TLS {
				b.state = was.state
			}
		}
		b.prepare(srv, o.Protocols)
		p.backends = append(p.backends, b)
		p.byName[bo.Name] = b
	}
	return p, errors.Join(errs...)
}

// prepare makes the configurations for handshakes. A TLS library at the back
// end may insist on the protocol's id (RFC 7301).
func (b *Backend) prepare(srv *Server, protocols []sniff.Protocol) {
	if b.Config == nil {
		return
	}
	b.secure = make(map[string]*handshake.Config)
	for name := range b.Ports {
		cfg := b.Config.Clone()
		for _, p := range protocols {
			if p.Name() == name && cfg.NextProtos == nil {
				cfg.NextProtos = []string{p.ALPN()}
			}
		}
		b.secure[name] = srv.prepare(cfg)
	}
}

// Backends lists the back ends in the order of the configuration.
func (p *Pool) Backends() []*Backend { return p.backends }

// Name is the pool's name.
func (p *Pool) Name() string { return p.options.Name }

// Backend finds a back end by name, nil if there is none.
func (p *Pool) Backend(name string) *Backend { return p.byName[name] }

// offer is what may be listed before login: what we and every back end can do.
func (p *Pool) offer(proto sniff.Protocol) sniff.Offer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o, ok := p.offers[proto.Name()]; ok {
		return o
	}
	var lists [][]string
	if fixed := p.options.Capabilities[proto.Name()]; len(fixed) > 0 {
		lists = append(lists, fixed)
	} else {
		for _, b := range p.backends {
			if _, ok := b.Ports[proto.Name()]; ok {
				lists = append(lists, b.capabilities(proto.Name()))
			}
		}
	}
	o := proto.Offer(lists)
	if p.offers == nil {
		p.offers = make(map[string]sniff.Offer)
	}
	p.offers[proto.Name()] = o
	return o
}

// learn notes a back end's capabilities.
func (p *Pool) learn(b *Backend, protocol string, caps []string) {
	if b.learn(protocol, caps) {
		p.forget()
	}
}

// forget makes the pool ask its back ends anew what to offer.
func (p *Pool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offers = nil
}
