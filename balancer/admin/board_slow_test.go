package admin_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/balancer/admin"
)

// piped is a listener of connections without buffers: what is not read is not written.
type piped struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p piped) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p piped) Close() error {
	close(p.done)
	return nil
}

func (p piped) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A stream outlives the bounds of an answer, up to its own; who stops reading is
// dropped within one frame's time.
func TestBoardSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		l := piped{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() {
			ended <- admin.Serve(ctx, l, newStage(3, 3).server().Public(public), slog.New(slog.DiscardHandler))
		}()
		view := func() (net.Conn, *bufio.Reader) {
			here, there := net.Pipe()
			l.conns <- there
			if _, err := io.WriteString(here, "GET "+admin.BoardPath+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			return here, bufio.NewReader(here)
		}

		slow, in := view()
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatalf("got %q, %v", line, err)
		}
		time.Sleep(20 * time.Second)
		began := time.Now()
		if _, err := io.Copy(io.Discard, in); err != nil || time.Since(began) > 0 {
			t.Errorf("one who has read nothing for 20 s is still served: %v after %v", err, time.Since(began))
		}
		_ = slow.Close()

		quick, in := view()
		began = time.Now()
		boards := 0
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			if strings.HasPrefix(line, "data: ") {
				boards++
			}
		}
		if took := time.Since(began); took < 9*time.Minute || took > 11*time.Minute || boards < 280 || boards > 310 {
			t.Errorf("a stream of %v had %d boards, want ten minutes with one in two seconds", took, boards)
		}
		_ = quick.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
