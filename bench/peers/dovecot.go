package peers

import (
	"context"
	"crypto/tls"
	"os/exec"
)

func dovecot() Peer {
	peer := Peer{
		Name: "dovecot",
		Note: "proxy; tells the client's address by ID and XCLIENT, not PROXY; its login processes share no key for tickets, so of " +
			"resumptions only one in as many as there are processes succeeds",
		KnowsUser: true,
		Curve:     tls.X25519,
		Serves:    everything,
		Version: func() (string, error) {
			return versionOf("dovecot", "dovecot-imapd dovecot-pop3d", "", "--version")
		},
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		path, err := find("dovecot", "dovecot-imapd dovecot-pop3d")
		if err != nil {
			return nil, err
		}
		return site.serve(ctx, peer, func(p *place) (err error) {
			who := struct {
				*place
				User, Group string
			}{place: p}
			if p.Rootless { // Dovecot wants names
				if who.User, who.Group, err = whoami(); err != nil {
					return err
				}
			}
			file, err := p.write("dovecot.conf", who)
			if err != nil {
				return err
			}
			return p.start(p.group, exec.Command(path, "-F", "-c", file))
		})
	}
	return peer
}
