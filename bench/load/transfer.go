package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"usher.example/bench/bulk"
)

// Download has the sink send n octets, and drops them: a message's octets by
// FETCH or RETR. With POP3 n is at least 2, since a message ends with CRLF.
func (c *Client) Download(n int64) error {
	size := strconv.FormatInt(n, 10)
	if c.pop3 {
		if err := c.command("RETR ", size); err != nil {
			return err
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("+OK")) {
			return verdict(line)
		}
		if err := c.discard(n); err != nil {
			return fmt.Errorf("download: %w", err)
		}
		if line, err = c.line(); err != nil {
			return err
		}
		if string(line) != "." {
			return fmt.Errorf("%w: %.80q after %d octets, want the message's end", ErrAnswer, line, n)
		}
		c.release()
		return nil
	}
	if err := c.command("FETCH 1 BODY[]<0.", size, ">"); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("* 1 FETCH ")) || !bytes.HasSuffix(line, []byte("{"+size+"}")) {
		return verdict(line)
	}
	if err := c.discard(n); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if line, err = c.line(); err != nil {
		return err
	}
	if string(line) != ")" {
		return fmt.Errorf("%w: %.80q after %d octets, want the end of FETCH", ErrAnswer, line, n)
	}
	return c.answer()
}

// Upload sends n octets by APPEND (RFC 9051 §6.3.12), when the target lets it.
// POP3 has no such thing: errors.ErrUnsupported.
func (c *Client) Upload(n int64) error {
	if c.pop3 {
		return errors.ErrUnsupported
	}
	if err := c.command("APPEND INBOX {", strconv.FormatInt(n, 10), "}"); err != nil {
		return err
	}
	if err := c.proceed(); err != nil {
		return err
	}
	if err := c.send(n); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return c.answer()
}

// discard takes n octets, those first that came with the last line.
func (c *Client) discard(n int64) error {
	had := min(n, int64(c.in.w-c.in.r))
	c.in.r += int(had)
	err := c.inTurns(n-had, func(n int64) error {
		if c.tls == nil {
			return bulk.Drop(c.tcp, n)
		}
		c.wire.receive()
		defer c.wire.received()
		for plain := c.wire.in.plain[:]; n > 0; {
			got, err := c.tls.Read(plain[:min(n, recordSize)])
			if n -= int64(got); err != nil && n > 0 {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// send sends n octets that mean nothing, and the end of the command behind them.
func (c *Client) send(n int64) error {
	if c.tls == nil {
		if err := c.inTurns(n, func(n int64) error { return bulk.Send(c.tcp, n) }); err != nil {
			return err
		}
		_, err := c.tcp.Write(crlf)
		return err
	}
	c.wire.gather()
	page := bulk.Page()
	err := c.inTurns(n, func(n int64) error {
		for n > 0 {
			sent, err := c.tls.Write(page[:min(n, int64(len(page)))])
			if err != nil {
				return err
			}
			n -= int64(sent)
		}
		return nil
	})
	if err == nil {
		_, err = c.tls.Write(crlf)
	}
	return errors.Join(err, c.wire.gathered())
}

var crlf = []byte("\r\n")

// inTurns has n octets moved, each turn in its own time.
func (c *Client) inTurns(n int64, move func(n int64) error) error {
	for n > 0 {
		part := min(n, turn)
		if err := c.arm(); err != nil {
			return err
		}
		if err := move(part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}
