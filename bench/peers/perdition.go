package peers

import (
	"context"
	"crypto/tls"
	"os"
	"os/exec"
	"os/user"
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
		p, err := site.open(peer.Name)
		if err != nil {
			return nil, err
		}
		if err := p.startPerditions(path); err != nil {
			return nil, p.failed(err)
		}
		t, err := p.target(ctx, peer)
		if err != nil {
			return nil, p.failed(err)
		}
		return t, nil
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
		me, err := user.Current()
		if err != nil {
			return err
		}
		mine, err := user.LookupGroupId(me.Gid)
		if err != nil {
			return err
		}
		who, group = me.Username, mine.Name
	}
	for _, of := range []struct{ protocol, listen, sink, mode string }{
		{"IMAP4S", p.IMAPS(), p.SinkIMAP, "ssl_listen"},
		{"IMAP4", p.IMAP(), p.SinkIMAP, "tls_listen"},
		{"POP3S", p.POP3S(), p.SinkPOP3, "ssl_listen"},
		{"POP3", p.POP3(), p.SinkPOP3, "tls_listen"},
	} {
		file, err := p.write("perdition.conf", struct {
			*place
			Listen, Sink, Mode, Log, User, Group string
		}{p, of.listen, of.sink, of.mode, of.protocol + ".log", who, group})
		if err != nil {
			return err
		}
		own := p.File(of.protocol + ".conf")
		if err := os.Rename(file, own); err != nil {
			return err
		}
		cmd := exec.Command(path, "-P", of.protocol, "-f", own)
		cmd.Env = append(os.Environ(), "OPENSSL_CONF="+library)
		if err := p.start(p.group, cmd); err != nil {
			return err
		}
	}
	return nil
}
