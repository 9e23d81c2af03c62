package peers

import (
	"context"
	"crypto/tls"
	"os/exec"
	"os/user"
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
		p, err := site.open(peer.Name)
		if err != nil {
			return nil, err
		}
		who := struct {
			*place
			User, Group string
		}{place: p}
		if p.Rootless { // Dovecot wants names
			me, err := user.Current()
			if err != nil {
				return nil, p.failed(err)
			}
			group, err := user.LookupGroupId(me.Gid)
			if err != nil {
				return nil, p.failed(err)
			}
			who.User, who.Group = me.Username, group.Name
		}
		file, err := p.write("dovecot.conf", who)
		if err != nil {
			return nil, p.failed(err)
		}
		return p.run(ctx, peer, exec.Command(path, "-F", "-c", file))
	}
	return peer
}
