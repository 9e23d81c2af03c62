package handshake_test

import (
	"testing"

	"usher.example/balancer/handshake"
)

// TestForget wants a connection to go on without what its handshake came to.
func TestForget(t *testing.T) {
	each(t, func(t *testing.T, c *handshake.Conn, _ peer) {
		if c.ConnectionState().Version == 0 {
			t.Fatal("there is nothing to forget")
		}
		c.Forget()
		if c.ConnectionState().Version != 0 {
			t.Error("the Conn still has its state")
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("then: %v", err)
		}
	})
}
