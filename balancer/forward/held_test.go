package forward

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// A counted connection counts how often it is closed.
type counted struct {
	Raw
	closed atomic.Int32
}

func (c *counted) Close() error {
	c.closed.Add(1)
	return c.Raw.Close()
}

// TestHeldIsReleased wants a side that does its own TLS to be closed with its
// session, however that ends: its keys are wiped by that alone.
func TestHeldIsReleased(t *testing.T) {
	for name, end := range map[string]func(client net.Conn, flow Flow){
		"client closes": func(client net.Conn, _ Flow) { _ = client.Close() },
		"killed":        func(_ net.Conn, flow Flow) { flow.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			client, ours, _ := side(t, nil, false)
			server, theirs, _ := side(t, nil, false)
			held := [2]*counted{{Raw: ours.Raw}, {Raw: theirs.Raw}}
			ours.Held, theirs.Held = held[0], held[1]
			done := make(chan Result, 1)
			flow := new(Copy).Adopt(Pair{Client: ours, Server: theirs, Done: func(r Result) { done <- r }})
			if _, err := client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			for _, c := range held {
				if c.closed.Load() != 0 {
					t.Error("it is closed before the end")
				}
			}
			end(client, flow)
			_ = server.Close()
			<-done
			for i, c := range held {
				if got := c.closed.Load(); got != 1 {
					t.Errorf("side %d was closed %d times, want once", i, got)
				}
			}
		})
	}
}
