package peers

import (
	"context"
	"crypto/tls"
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
		return site.simple(ctx, peer, "stunnel4", "stunnel4", "stunnel.conf", func(file string) []string {
			return []string{file}
		})
	}
	return peer
}
