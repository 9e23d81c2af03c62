package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"usher.example/bench/gauge"
)

// An nginx is what its templates see.
type nginx struct {
	*place
	Modules string // where its modules are
	Auth    string // address of the server that it asks about users
	Buffer  string // for each direction of a session
}

func nginxMail(name, buffer string) Peer {
	return newNginx(Peer{
		Name: name,
		Note: "mail module, buffers of " + buffer + "; the server that it asks about users (auth_http) is not counted; " +
			"PROXY v1; never sets TCP_NODELAY, so a greeting after tickets waits for the client's delayed ACK",
		KnowsUser: true,
		Serves:    everything,
	}, "mail", buffer)
}

func nginxStream() Peer {
	return newNginx(Peer{
		Name:   "nginx-stream",
		Note:   "stream module: knows no user, and no STARTTLS; PROXY v1",
		Serves: noStartTLS,
	}, "stream", "16k")
}

func newNginx(peer Peer, module, buffer string) Peer {
	debian := "libnginx-mod-" + module
	peer.Curve = tls.X25519
	peer.Version = func() (string, error) {
		version, err := versionOf("nginx", "nginx", "nginx/", "-v")
		if err == nil {
			_, err = nginxModules(module, debian)
		}
		return version, err
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		path, err := find("nginx", "nginx")
		if err != nil {
			return nil, err
		}
		modules, err := nginxModules(module, debian)
		if err != nil {
			return nil, err
		}
		return site.serve(ctx, peer, func(p *place) (err error) {
			n := nginx{place: p, Modules: modules, Buffer: buffer}
			if module == "mail" {
				if n.Auth, err = p.startAuth(); err != nil {
					return err
				}
			}
			file, err := p.write("nginx-"+module+".conf", n)
			if err != nil {
				return err
			}
			return p.start(p.group, exec.Command(path, "-c", file, "-p", p.Dir, "-e", p.File("error.log")))
		})
	}
	return peer
}

// nginxModules is where nginx has its modules, if that one is among them.
func nginxModules(module, debian string) (string, error) {
	path, err := find("nginx", "nginx")
	if err != nil {
		return "", err
	}
	out, err := say(versionTime, path, "-V")
	if err != nil {
		return "", fmt.Errorf("%s -V: %w", path, err)
	}
	const option = "--modules-path="
	for word := range strings.FieldsSeq(string(out)) {
		if dir, ok := strings.CutPrefix(word, option); ok {
			if _, err := os.Stat(filepath.Join(dir, "ngx_"+module+"_module.so")); err != nil {
				return "", fmt.Errorf("nginx has no module for %s: install Debian's package %s (make bench-setup)", module, debian)
			}
			return dir, nil
		}
	}
	return "", errors.New("nginx -V does not say where its modules are")
}

// startAuth starts the server that nginx asks about users, in a group aside, and
// returns its address.
func (p *place) startAuth() (string, error) {
	var err error
	if p.aside, err = gauge.NewGroup(p.Name + "-auth"); err != nil {
		return "", err
	}
	addrs, err := p.startSelf(p.aside, "auth", "--imap", p.SinkIMAP, "--pop3", p.SinkPOP3, "--listen", p.HTTP())
	if err != nil {
		return "", err
	}
	return addrs[0], nil
}
