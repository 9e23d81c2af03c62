package peers

import (
	"context"
	"crypto/tls"
	"os"
	"os/exec"
)

func perdition() Peer {
	peer := Peer{
		Name:      "perdition",
		Note:      "a process for each session; P-256 instead of X25519, which it refuses; tells nobody the client's address",
		KnowsUser: true,
		Curve:     tls.CurveP256,
		Serves:    everything,
		Version: func() (string, error) {
			return versionOf("perdition", "perdition", "perdition version ", "--help")
		},
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		path, err := find("perdition", "perdition")
		if err != nil {
			return nil, err
		}
		return site.serve(ctx, peer, func(p *place) error { return p.startPerditions(path) })
	}
	return peer
}

// startPerditions starts one for each listener.
func (p *place) startPerditions(path string) error {
	library, err := p.write("perdition.cnf", p)
	if err != nil {
		return err
	}
	// It gives up root for somebody who exists, and will not do without.
	who, group := "nobody", "nogroup"
	if p.Rootless {
		if who, group, err = whoami(); err != nil {
			return err
		}
	}
	for _, of := range []struct{ protocol, listen, sink, mode string }{
		{"IMAP4S", p.IMAPS(), p.SinkIMAP, "ssl_listen"},
		{"IMAP4", p.IMAP(), p.SinkIMAP, "tls_listen"},
		{"POP3S", p.POP3S(), p.SinkPOP3, "ssl_listen"},
		{"POP3", p.POP3(), p.SinkPOP3, "tls_listen"},
	} {
		file, err := p.writeAs(of.protocol+".conf", "perdition.conf", struct {
			*place
			Listen, Sink, Mode, Log, User, Group string
		}{p, of.listen, of.sink, of.mode, of.protocol + ".log", who, group})
		if err != nil {
			return err
		}
		cmd := exec.Command(path, "-P", of.protocol, "-f", file)
		cmd.Env = append(os.Environ(), "OPENSSL_CONF="+library)
		if err := p.start(p.group, cmd); err != nil {
			return err
		}
	}
	return nil
}
