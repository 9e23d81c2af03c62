package peers

import (
	"context"
	"crypto/tls"
	"os/exec"
)

func haproxy() Peer {
	peer := Peer{
		Name:   "haproxy",
		Note:   "mode tcp: knows no user, and no STARTTLS",
		Curve:  tls.X25519,
		Serves: noStartTLS,
		Version: func() (string, error) {
			return versionOf("haproxy", "haproxy", "HAProxy version ", "-v")
		},
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		return site.simple(ctx, peer, "haproxy", "haproxy", "haproxy.cfg", func(file string) []string {
			return []string{"-db", "-f", file} // in the foreground, one process
		})
	}
	return peer
}

// simple starts a peer that is one program with one configuration.
func (s Site) simple(ctx context.Context, peer Peer, name, debian, file string, args func(path string) []string) (*Target, error) {
	path, err := find(name, debian)
	if err != nil {
		return nil, err
	}
	p, err := s.open(peer.Name)
	if err != nil {
		return nil, err
	}
	written, err := p.write(file, p)
	if err != nil {
		return nil, p.failed(err)
	}
	if err := p.start(p.group, exec.Command(path, args(written)...)); err != nil {
		return nil, p.failed(err)
	}
	t, err := p.target(ctx, peer)
	if err != nil {
		return nil, p.failed(err)
	}
	return t, nil
}
