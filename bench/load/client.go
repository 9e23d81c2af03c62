package load

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"
)

// A Client is one connection of a mail client. It belongs to one goroutine at a
// time, but for Close. Its methods send a command and wait for the answer; after
// an error only Close makes sense.
type Client struct {
	tcp     *net.TCPConn
	conn    net.Conn // tcp, or tls over it
	tls     *tls.Conn
	wire    *wire           // what tls runs over
	ctx     context.Context // ends the client, as Dial says
	stop    func() bool     // takes leave of ctx
	timeout time.Duration   // of each answer; zero once SetDeadline was used
	pop3    bool
	idling  bool
	tag     uint32 // of the last command

	in *input // nil while nothing is awaited
}

func newClient(ctx context.Context, tcp *net.TCPConn, pop3 bool, timeout time.Duration) *Client {
	c := &Client{tcp: tcp, conn: tcp, ctx: ctx, pop3: pop3, timeout: timeout}
	if ctx.Done() != nil {
		c.stop = context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(time.Unix(1, 0)) })
	}
	return c
}

// State is what was negotiated; zero without TLS. DidResume tells whether a
// ticket was taken.
func (c *Client) State() tls.ConnectionState {
	if c.tls == nil {
		return tls.ConnectionState{}
	}
	return c.tls.ConnectionState()
}

// SetDeadline bounds all that follows by a time, instead of each answer by
// Service.Timeout. The zero time is no bound.
func (c *Client) SetDeadline(t time.Time) error {
	c.timeout = 0
	return c.tcp.SetDeadline(t)
}

// arm gives what comes next its time.
func (c *Client) arm() error {
	if c.timeout > 0 {
		if err := c.tcp.SetDeadline(time.Now().Add(c.timeout)); err != nil {
			return err
		}
	}
	return context.Cause(c.ctx) // after the deadline was set, or it would undo the one of a context done meanwhile
}

// Login logs in: with LOGIN (RFC 9051 §6.2.3), or USER and PASS (RFC 1939 §7).
func (c *Client) Login(user, password string) error {
	if c.pop3 {
		if err := c.ask("USER ", user); err != nil {
			return err
		}
		return c.ask("PASS ", password)
	}
	return c.ask("LOGIN ", quoted(user), " ", quoted(password))
}

// Noop asks for nothing (RFC 9051 §6.1.2, RFC 1939 §5).
func (c *Client) Noop() error { return c.ask("NOOP") }

// Idle begins to wait for news (RFC 2177); the next command, whichever, ends
// that first. POP3 has no such thing: errors.ErrUnsupported.
func (c *Client) Idle() error {
	if c.pop3 {
		return errors.ErrUnsupported
	}
	if err := c.command("IDLE"); err != nil {
		return err
	}
	if err := c.proceed(); err != nil {
		return err
	}
	c.idling = true
	c.release()
	if c.timeout == 0 {
		return nil
	}
	return c.tcp.SetDeadline(time.Time{}) // a timer for every idle client would be a cost
}

// Done ends Idle; without one it does nothing.
func (c *Client) Done() error {
	if !c.idling {
		return nil
	}
	if err := c.arm(); err != nil {
		return err
	}
	c.idling = false
	if _, err := c.conn.Write([]byte("DONE\r\n")); err != nil {
		return err
	}
	return c.answer()
}

// Logout says good-bye and waits for the answer (RFC 9051 §6.1.3, RFC 1939 §6).
func (c *Client) Logout() error {
	if c.pop3 {
		return c.ask("QUIT")
	}
	return c.ask("LOGOUT")
}

// Close closes the connection, with TLS's own good-bye if there is TLS.
func (c *Client) Close() error {
	if c.stop != nil {
		c.stop()
	}
	return c.conn.Close()
}

// startTLS asks for TLS and leaves the connection where the handshake begins.
func (c *Client) startTLS() error {
	if c.pop3 {
		return c.ask("STLS")
	}
	return c.ask("STARTTLS")
}

// ask sends a command and waits for its verdict.
func (c *Client) ask(parts ...string) error {
	if err := c.command(parts...); err != nil {
		return err
	}
	return c.answer()
}

// command sends one line in one write, after the end of an Idle.
func (c *Client) command(parts ...string) error {
	if err := c.Done(); err != nil {
		return err
	}
	if err := c.arm(); err != nil {
		return err
	}
	in := c.hold()
	line := in.out[:0]
	if !c.pop3 {
		c.tag++
		line = append(strconv.AppendUint(append(line, 'a'), uint64(c.tag), 10), ' ')
	}
	for _, part := range parts {
		line = append(line, part...)
	}
	in.out = append(line, '\r', '\n')
	_, err := c.conn.Write(in.out)
	return err
}

// quoted is a quoted string (RFC 9051 §4.3).
func quoted(s string) string {
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(append(out, '"'))
}
