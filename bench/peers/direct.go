package peers

import (
	"context"
	"runtime"
)

// direct is no proxy: what the load and the back end cost by themselves.
func direct() Peer {
	peer := Peer{
		Name:    "direct",
		Note:    "a reference, no peer: clients at the back end itself, without TLS",
		Serves:  func(_, security string) bool { return security == plain },
		Version: func() (string, error) { return runtime.Version(), nil },
	}
	peer.Start = func(ctx context.Context, site Site) (*Target, error) {
		p, err := site.open(peer.Name)
		if err != nil {
			return nil, err
		}
		t := &Target{Group: p.group, place: p, Addr: func(protocol, _ string) string {
			if protocol == pop3 {
				return site.SinkPOP3
			}
			return site.SinkIMAP
		}}
		if err := p.ready(ctx, t, peer); err != nil {
			return nil, p.failed(err)
		}
		return t, nil
	}
	return peer
}
