package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"syscall"
)

// A peer is the process at the other end of a unix socket, as the kernel says
// (unix(7), SO_PEERCRED): who it was when it connected.
type peer struct {
	pid int32
	uid uint32
}

func (p peer) String() string { return fmt.Sprintf("uid %d, pid %d", p.uid, p.pid) }

type (
	peerKey  struct{}
	guestKey struct{}
)

// withPeer keeps with a connection who is at its other end.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		if g, ok := t.NetConn().(*guest); ok {
			return context.WithValue(ctx, guestKey{}, g)
		}
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *syscall.Ucred
	if ctlErr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); ctlErr != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer{cred.Pid, cred.Uid})
}

// peerOf returns who asks; false if that is not known.
func peerOf(ctx context.Context) (peer, bool) {
	p, ok := ctx.Value(peerKey{}).(peer)
	return p, ok
}

// peerName is who asks, for the log.
func peerName(ctx context.Context) string {
	if p, known := peerOf(ctx); known {
		return p.String()
	}
	return "unknown"
}

// trusted tells whether it may have private keys: root and the user that usher
// runs as could take them anyway.
func (p peer) trusted() bool { return p.uid == 0 || int(p.uid) == os.Geteuid() }
