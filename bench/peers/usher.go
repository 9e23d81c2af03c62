package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
)

// A node is what usher's template sees.
type node struct {
	*place
	DataPath string
	Nodes    []*place // of the fleet; none: alone
	Voters   []*place // those of them that vote
	Secret   string   // file
}

func usher(name, dataPath string) Peer {
	note := "one node, alone"
	if dataPath == "copy" {
		note += "; data_path = \"copy\": crypto/tls and two goroutines for each session"
	}
	peer := Peer{
		Name: name, Note: note, KnowsUser: true, Curve: tls.X25519, Serves: everything,
		Version: usherVersion,
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		p, err := site.open(name)
		if err != nil {
			return nil, err
		}
		if err := (node{place: p, DataPath: dataPath}).start(); err != nil {
			return nil, p.failed(err)
		}
		t, err := p.target(ctx, peer)
		if err == nil {
			err = p.settled(ctx)
		}
		if err != nil {
			return nil, p.failed(err)
		}
		return t, nil
	}
	return peer
}

func (n node) start() error {
	if n.Usher == "" {
		return errors.New("no binary of usher is given: build one (go build ./cmd/usher)")
	}
	imapHost, _ := n.HostOf(n.SinkIMAP)
	if pop3Host, _ := n.HostOf(n.SinkPOP3); imapHost != pop3Host {
		return errors.New("the back end's protocols are at different addresses: usher knows it by one")
	}
	file, err := n.write("usher.toml", n)
	if err != nil {
		return err
	}
	cmd := exec.Command(n.Usher, "serve", "-c", file)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(n.Workers))
	return n.place.start(n.group, cmd)
}

// usherVersion is that of the sources, for who only asks: of what is measured the
// binary tells it.
func usherVersion() (string, error) {
	if out, err := say(versionTime, "git", "describe", "--always", "--dirty"); err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version, nil
	}
	return "unknown", nil
}
