package balancer

import (
	"context"
	"errors"
	"fmt"
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
	var errs []error
	good, untried := 0, 0
	for _, proto := range p.options.Protocols {
		if _, ok := b.Ports[proto.Name()]; !ok {
			continue
		}
		if err := b.probe(ctx, p, proto, how); err != nil {
			if f := (*Failure)(nil); errors.As(err, &f) && f.Kind == Exhausted {
				untried++
			}
			errs = append(errs, fmt.Errorf("%s: %w", proto.Name(), err))
			continue
		}
		good++
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
