package admin_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/balancer/admin"
)

// call opens a connection from an address of the loopback network.
func (p *port) call(from string) *tls.Conn {
	p.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	c, err := tls.DialWithDialer(&d, "tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is about connections
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// status asks on a connection that stays open.
func (p *port) status(c *tls.Conn, token string) (int, error) {
	fmt.Fprintf(c, "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
	w, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, w.Body)
	return w.StatusCode, errors.Join(err, w.Body.Close())
}

// TestCrowd: strangers who hold connections, from one address and from many, shut nobody
// out, and who has said who he is stays.
func TestCrowd(t *testing.T) {
	p := openPort(t, nil)
	friend := p.call("127.0.0.1")
	if code, err := p.status(friend, p.read); code != 200 {
		t.Fatalf("got %d, %v", code, err)
	}
	first := p.call("127.0.0.1")
	for range admin.MaxGuestsPerAddress {
		p.call("127.0.0.1")
	}
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest stranger of a crowded address is still there: %v", err)
	}
	for i := range admin.MaxGuests {
		p.call(fmt.Sprintf("127.0.1.%d", i/(admin.MaxGuestsPerAddress/2)+1))
	}
	if code, err := p.status(friend, p.read); code != 200 {
		t.Errorf("who is known was closed: got %d, %v", code, err)
	}
	late := p.call("127.0.0.1")
	if code, err := p.status(late, p.operate); code != 200 {
		t.Errorf("who comes late: got %d, %v", code, err)
	}
	_, text := p.ask(p.client(""), "GET", "/metrics", p.read, "")
	if !strings.Contains(text, fmt.Sprintf("\nusher_api_connections %d\n", admin.MaxGuests)) || strings.Contains(text, "\nusher_api_shed_total 0\n") {
		t.Errorf("got %s", text[strings.Index(text, "# HELP usher_api"):][:900])
	}
}

// A queue is a listener of connections that are handed to it.
type queue chan net.Conn

func (p queue) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p queue) Close() error   { return nil }
func (p queue) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlowCallers: who sends a header octet by octet, or nothing at all, is closed after
// a few seconds.
func TestSlowCallers(t *testing.T) {
	for name, every := range map[string]time.Duration{"silent": time.Hour, "an octet a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := make(queue)
				go func() {
					_ = admin.Serve(t.Context(), l, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
				}()
				mine, theirs := net.Pipe()
				l <- theirs
				from := time.Now()
				ended, over := make(chan time.Duration, 1), make(chan struct{})
				go func() {
					_, _ = io.Copy(io.Discard, mine)
					ended <- time.Since(from)
				}()
				go func() {
					for _, b := range []byte("GET /v1/status HTTP/1.1\r\nHost: a-long-name.example.org\r\n") {
						if _, err := mine.Write([]byte{b}); err != nil {
							return
						}
						select {
						case <-time.After(every):
						case <-over:
							return
						}
					}
				}()
				if took := <-ended; took > admin.HeaderTime+time.Second {
					t.Errorf("it was closed after %v", took)
				}
				_ = mine.Close()
				close(over)
				close(l)
			})
		})
	}
}
