package balancer

import (
	"io"
	"log/slog"
	"testing"
)

// A node that is being stopped takes pools, since it may lead its fleet until its last
// session has ended; a listener it opens no more.
func TestApplyWhileStopping(t *testing.T) {
	srv := New(Deps{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	srv.StopAccepting()
	if err := srv.Apply(Options{Pools: []PoolOptions{{Name: "main", Backends: []BackendOptions{{Name: "mail1", Host: "127.0.0.1", Ports: map[string]int{"imap": 143}, TLS: TLSNone}}}}}); err != nil {
		t.Errorf("pools: %v", err)
	}
	if n := len(srv.Pools()); n != 1 {
		t.Errorf("%d pools, want the one that came", n)
	}
	if err := srv.Apply(Options{Listeners: []ListenerOptions{{Name: "imap", Pool: "main", Address: "127.0.0.1:0"}}}); err == nil {
		t.Error("a listener was opened")
	}
}
