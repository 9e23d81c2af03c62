package balancer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"usher.example/health"
	"usher.example/sniff"
)

// A Probe says how a back end is examined.
type Probe struct {
	// Depth is NoProbe for a mere connection.
	Depth sniff.Depth
	// User and Password are a test account's, for ProbeLogin.
	User     string
	Password sniff.Secret
}

// Probe examines a back end of the configuration in force with every protocol
// that its pool is used with, and learns its capabilities. It ends when ctx
// does. Where storage is local one good protocol is enough, since nobody else
// could serve the users; where it is shared all must be good. Where all that failed
// did so for want of something on this node the error is [health.ErrUntried].
func (srv *Server) Probe(ctx context.Context, pool, backend string, how Probe) error {
	p := srv.Pool(pool)
	if p == nil || p.Backend(backend) == nil {
		return fmt.Errorf("no back end %s in pool %s", backend, pool)
	}
	b := p.Backend(backend)
	var served []sniff.Protocol
	for _, proto := range p.options.Protocols {
		if _, ok := b.Ports[proto.Name()]; ok {
			served = append(served, proto)
		}
	}
	var errs []error
	good, untried := 0, 0
	for i, err := range b.probeAll(ctx, p, served, how) {
		if err == nil {
			good++
			continue
		}
		if f := (*Failure)(nil); errors.As(err, &f) && f.Kind == Exhausted {
			untried++
		}
		errs = append(errs, fmt.Errorf("%s: %w", served[i].Name(), err))
	}
	if now := srv.Pool(pool); now != nil && now != p {
		now.forget() // a reload came between; what was learnt is its back end's as well
	}
	if good == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("back end %s serves no protocol that pool %s is used with", backend, pool))
	}
	if p.options.Local && good > 0 {
		return nil
	}
	if untried > 0 && untried == len(errs) {
		return fmt.Errorf("%w: %w", health.ErrUntried, errors.Join(errs...))
	}
	return errors.Join(errs...)
}

// probeAll tries all protocols, and gives the results in their order. They are tried at
// once, so that one that does not answer takes no time from the others; but not where the
// test account logs in, whose mailbox POP3 may lock (RFC 1939, section 4): there each has
// the time that those before it have left.
func (b *Backend) probeAll(ctx context.Context, p *Pool, protocols []sniff.Protocol, how Probe) []error {
	results := make([]error, len(protocols))
	var all sync.WaitGroup
	for i, proto := range protocols {
		if how.Depth == sniff.ProbeLogin {
			results[i] = b.probe(ctx, p, proto, how)
			continue
		}
		all.Go(func() { results[i] = b.probe(ctx, p, proto, how) })
	}
	all.Wait()
	return results
}

// probe tries one protocol.
func (b *Backend) probe(ctx context.Context, p *Pool, proto sniff.Protocol, how Probe) error {
	limit := defaultBackendLoginTime
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	l, err := b.dial(ctx, nil, proto, nil, limit, limit)
	if err != nil {
		return err
	}
	defer l.close()
	if how.Depth == sniff.NoProbe {
		return nil
	}
	o := sniff.BackOptions{Probe: how.Depth, StartTLS: b.TLS == TLSStart, TLS: b.TLS == TLSImplicit}
	if how.Depth == sniff.ProbeLogin {
		o.Login = &sniff.Login{Mechanism: sniff.Command, User: how.User, AuthID: how.User, Password: append(sniff.Secret(nil), how.Password...)}
		defer o.Login.Wipe()
	}
	back := proto.Back(o)
	d := sniff.NewDriver(back)
	for {
		ev, err := d.Drive(l.conn())
		if err != nil {
			return b.classify(ctx, err, d.Spoke())
		}
		switch ev.Kind {
		case sniff.StartTLS:
			if err := l.handshake(ctx, b, proto); err != nil {
				return err
			}
			back.Secured()
		case sniff.Accepted:
			p.learn(b, proto.Name(), ev.Accepted.Capabilities)
			return nil
		case sniff.Refused:
			return b.refused(ev.Refusal)
		default:
			return fmt.Errorf("unexpected %v", ev.Kind)
		}
	}
}
