package balancer

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"usher.example/balancer/strand"
)

// TestResolved wants a name's address to be taken from what the last connection found,
// while that is young and about the same name.
func TestResolved(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.7")
	for name, tt := range map[string]struct {
		host  string
		found *found
		want  bool
	}{
		"an address":          {"192.0.2.7", nil, true},
		"nothing found":       {"mail.example", nil, false},
		"found just now":      {"mail.example", &found{"mail.example", ip, time.Now()}, true},
		"found too long ago":  {"mail.example", &found{"mail.example", ip, time.Now().Add(-foundFor)}, false},
		"another name's":      {"mail.example", &found{"old.example", ip, time.Now()}, false},
		"an address and name": {"192.0.2.7", &found{"old.example", netip.MustParseAddr("192.0.2.9"), time.Now()}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &Backend{BackendOptions: BackendOptions{Host: tt.host}, state: new(backendState)}
			b.state.found.Store(tt.found)
			if got, ok := b.resolved(); ok != tt.want || ok && got != ip {
				t.Errorf("got %v, %v; want %v", got, ok, tt.want)
			}
		})
	}
}

// TestNameIsAskedAgain wants a connection by name to leave its address for the next,
// and one that fails to forget it.
func TestNameIsAskedAgain(t *testing.T) {
	backend := listenLocal(t)
	port := backend.Addr().(*net.TCPAddr).Port
	b := &Backend{BackendOptions: BackendOptions{Name: "b", Host: "localhost"}, state: new(backendState)}
	l, err := b.connect(t.Context(), nil, port, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	l.close()
	if ip, ok := b.resolved(); !ok || !ip.IsLoopback() {
		t.Fatalf("after a connection the name is %v, %v", ip, ok)
	}
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	inStrand(t, func(on *strand.Strand) {
		l, err := b.connect(t.Context(), on, port, 5*time.Second)
		if err == nil {
			l.close()
		}
		failed <- err
	})
	if err := <-failed; err == nil {
		t.Fatal("connected with nobody")
	}
	if ip, ok := b.resolved(); ok {
		t.Errorf("after a connection that failed the name is still %v", ip)
	}
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// inStrand has a strand do something, and waits for it.
func inStrand(t *testing.T, do func(*strand.Strand)) {
	t.Helper()
	loops, err := strand.New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loops.Close)
	front := listenLocal(t)
	socket, err := loops.Socket(front.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	serve := func(c *strand.Conn) {
		defer close(done)
		defer c.Close() //nolint:errcheck // it has served its purpose
		do(c.Strand())
	}
	if err := socket.Accept(serve, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	<-done
	_ = c.Close()
	socket.Stop()
}
