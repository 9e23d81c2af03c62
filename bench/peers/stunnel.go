package peers

import (
	"context"
	"crypto/tls"
	"os/exec"
)

func stunnel() Peer {
	peer := Peer{
		Name:   "stunnel",
		Note:   "a thread for each session; TLS only: knows no user, no STARTTLS and no plaintext; PROXY v1",
		Curve:  tls.X25519,
		Serves: tlsOnly,
		Version: func() (string, error) {
			return versionOf("stunnel4", "stunnel4", "stunnel ", "-version")
		},
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		path, err := find("stunnel4", "stunnel4")
		if err != nil {
			return nil, err
		}
		return site.serve(ctx, peer, func(p *place) error {
			file, err := p.write("stunnel.conf", p)
			if err != nil {
				return err
			}
			return p.start(p.group, exec.Command(path, file))
		})
	}
	return peer
}
