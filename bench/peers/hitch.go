package peers

import (
	"context"
	"crypto/tls"
	"os/exec"
)

func hitch() Peer {
	peer := Peer{
		Name:   "hitch",
		Note:   "TLS only: knows no user, no STARTTLS and no plaintext; one process group for IMAP and one for POP3",
		Curve:  tls.X25519,
		Serves: tlsOnly,
		Version: func() (string, error) {
			return versionOf("hitch", "hitch", "hitch ", "--version")
		},
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		path, err := find("hitch", "hitch")
		if err != nil {
			return nil, err
		}
		return site.serve(ctx, peer, func(p *place) error {
			for _, of := range [][2]string{{p.IMAPS(), p.SinkIMAP}, {p.POP3S(), p.SinkPOP3}} {
				file, err := p.writeAs("hitch-"+of[1]+".conf", "hitch.conf", struct {
					*place
					Listen, Sink string
				}{p, of[0], of[1]})
				if err != nil {
					return err
				}
				if err := p.start(p.group, exec.Command(path, "--config="+file)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return peer
}
