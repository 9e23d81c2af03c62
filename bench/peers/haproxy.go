package peers

import (
	"context"
	"crypto/tls"
	"os/exec"
)

// A proxy is what HAProxy's template sees.
type proxy struct {
	*place
	Buffer int // octets; 0 is what the manual wants
}

func haproxy(name string, buffer int) Peer {
	peer := Peer{
		Name:   name,
		Note:   "mode tcp: knows no user, and no STARTTLS",
		Curve:  tls.X25519,
		Serves: noStartTLS,
		Version: func() (string, error) {
			return versionOf("haproxy", "haproxy", "HAProxy version ", "-v")
		},
	}
	if buffer > 0 {
		peer.Note += "; larger buffers than its manual wants, which cost it less for each gigabyte of TLS"
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		path, err := find("haproxy", "haproxy")
		if err != nil {
			return nil, err
		}
		return site.serve(ctx, peer, func(p *place) error {
			file, err := p.write("haproxy.cfg", proxy{p, buffer})
			if err != nil {
				return err
			}
			return p.start(p.group, exec.Command(path, "-db", "-f", file)) // in the foreground, one process
		})
	}
	return peer
}
