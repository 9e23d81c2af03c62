package demo

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/pires/go-proxyproto"
	"go.uber.org/goleak"
)

func open(t *testing.T) *Site {
	t.Helper()
	ignored := goleak.IgnoreCurrent()
	t.Setenv("TMPDIR", t.TempDir())
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("folder %s after Close: %v, want that it does not exist", s.Dir, err)
		}
		for _, b := range s.Backends {
			refused(t, b)
		}
		goleak.VerifyNone(t, ignored)
	})
	return s
}

func refused(t *testing.T, b *Backend) {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial stopped back end %s: %v, want that it is refused", b.Name, err)
	}
}

// relay stands where usher would: it takes TLS off, sends a PROXY header, and
// speaks TLS with the back end.
func relay(t *testing.T, s *Site, b *Backend) Entrance {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(s.certFile(), s.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	roots := s.roots // whatever becomes of the clients'
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := dial(roots, b, client.RemoteAddr())
			if err != nil {
				t.Errorf("dial back end: %v", err)
				_ = client.Close()
				continue
			}
			copyAll := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_ = to.Close()
				_ = from.Close()
			}
			wg.Go(func() { copyAll(client, server) })
			wg.Go(func() { copyAll(server, client) })
		}
	})
	return Entrance{Address: l.Addr().String()}
}

// dial connects to a back end as the balancer does; the client is nil for
// somebody who knows nothing of PROXY headers.
func dial(roots *x509.CertPool, b *Backend, client net.Addr) (net.Conn, error) {
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		return nil, err
	}
	if client != nil {
		if _, err := proxyproto.HeaderProxyFromAddrs(2, client, c.RemoteAddr()).WriteTo(c); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	secured := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: b.host()})
	if err := secured.Handshake(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return secured, nil
}

func TestLogInNamesTheBackend(t *testing.T) {
	s := open(t)
	var entrance Entrance
	for _, b := range s.Backends {
		entrance = relay(t, s, b)
		for _, user := range []string{s.Users[0], strings.ToUpper(s.Users[0])} {
			l, err := s.LogIn(t.Context(), entrance, user)
			if err != nil {
				t.Fatal(err)
			}
			if l.Backend != b.Name || l.TLS != "TLS 1.3" {
				t.Errorf("%s is on %q by %s, want %q by TLS 1.3", user, l.Backend, l.TLS, b.Name)
			}
			if err := l.Alive(t.Context()); err != nil {
				t.Error(err)
			}
			if err := l.LogOut(t.Context()); err != nil {
				t.Error(err)
			}
			<-l.Ended()
		}
	}
	s.Password = "wrong"
	_, err := s.LogIn(t.Context(), entrance, s.Users[0])
	var no *imap.Error
	if !errors.As(err, &no) || no.Code != imap.ResponseCodeAuthenticationFailed {
		t.Errorf("wrong password: %v, want AUTHENTICATIONFAILED", err)
	}
}

func TestClientsVerify(t *testing.T) {
	s := open(t)
	entrance := relay(t, s, s.Backends[0])
	other, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s.roots = other.pool()
	var unknown x509.UnknownAuthorityError
	if _, err := s.LogIn(t.Context(), entrance, s.Users[0]); !errors.As(err, &unknown) {
		t.Errorf("log in with another authority: %v, want %T", err, unknown)
	}
}

func TestBackendWantsAHeader(t *testing.T) {
	s := open(t)
	c, err := dial(s.roots, s.Backends[0], nil)
	if err == nil {
		_ = c.Close()
		t.Error("a back end served a connection without PROXY header")
	}
}

func TestStopAndStart(t *testing.T) {
	s := open(t)
	b := s.Backends[0]
	addr := b.Addr()
	for round := range 3 {
		c, err := dial(s.roots, b, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1000 + round})
		if err != nil {
			t.Fatal(err)
		}
		client := imapclient.New(c, nil)
		if err := client.Login(s.Users[0], s.Password).Wait(); err != nil {
			t.Fatal(err)
		}
		box, err := client.Select(inbox, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := box.NumMessages, uint32(round+1); got != want {
			t.Errorf("start %d: %d mails, want %d: one of each login, over stops", round, got, want)
		}
		b.Stop()
		<-client.Closed() // or the test hangs
		_ = client.Close()
		refused(t, b)
		b.Stop() // twice does no harm
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		if b.Addr() != addr {
			t.Errorf("after start %d at %v, want %v", round, b.Addr(), addr)
		}
	}
}

func TestFiles(t *testing.T) {
	s := open(t)
	for name, mode := range map[string]fs.FileMode{
		s.Dir: 0o700 | fs.ModeDir, s.CAFile(): 0o644, s.certFile(): 0o644, s.keyFile(): 0o600,
		s.Nodes[0].ConfigFile(): 0o600, s.Nodes[1].ConfigFile(): 0o600, s.Nodes[2].ConfigFile(): 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if got := info.Mode(); got&^0o022 != mode&^0o022 {
			t.Errorf("%s has mode %v, want %v", name, got, mode)
		}
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("%d files, %v; want 6: the authority's key is not one", len(entries), err)
	}
}

func TestConfigureAgain(t *testing.T) {
	s := open(t)
	taken, err := net.Listen("tcp", s.Nodes[0].IMAPS.String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := os.MkdirAll(s.Nodes[0].StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Configure(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Nodes[0].StateDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state of before: %v, want that it does not exist", err)
	}
	seen := map[string]bool{taken.Addr().String(): true}
	for _, n := range s.Nodes {
		text, err := os.ReadFile(n.ConfigFile())
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range []string{n.IMAPS.String(), n.IMAP.String(), n.HTTP.String(), n.Fleet.String()} {
			if seen[addr] {
				t.Errorf("%s is there twice", addr)
			}
			seen[addr] = true
			if !strings.Contains(string(text), addr) {
				t.Errorf("the usher.toml of %s does not name %s", n.Name, addr)
			}
		}
		for _, addr := range []string{s.Backends[0].Addr().String(), s.Nodes[0].Fleet.String(), s.Nodes[1].Fleet.String(), s.Nodes[2].Fleet.String()} {
			if _, port, _ := net.SplitHostPort(addr); !strings.Contains(string(text), port) {
				t.Errorf("the usher.toml of %s does not name %s", n.Name, addr)
			}
		}
	}
}

// TestSeats has one user on two back ends, past any balancer: their record must
// say so.
func TestSeats(t *testing.T) {
	s := open(t)
	user := s.Users[0]
	for i, want := range []int{0, 1} {
		l, err := s.LogIn(t.Context(), relay(t, s, s.Backends[i]), strings.ToUpper(user))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Cut()
		if got := len(s.Twice()); got != want || len(s.At(user)) != i+1 {
			t.Errorf("after login %d: %v, at %v; want %d lines", i, s.Twice(), s.At(user), want)
		}
	}
	s.Backends[0].Stop()
	if at := s.At(user); len(at) != 1 || at[0] != s.Backends[1].Name {
		t.Errorf("at %v after the other died, want %s", at, s.Backends[1].Name)
	}
}
