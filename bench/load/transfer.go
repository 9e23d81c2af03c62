package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
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
	if _, err := c.conn.Write([]byte("\r\n")); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return c.answer()
}

// discard takes n octets, those first that came with the last line.
func (c *Client) discard(n int64) error {
	had := min(n, int64(c.in.w-c.in.r))
	c.in.r += int(had)
	n -= had
	if c.tls == nil {
		return bulk.Drop(c.tcp, n)
	}
	for n > 0 {
		got, err := c.conn.Read(c.in.buf[:min(n, inputSize)])
		n -= int64(got)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// send sends n octets that mean nothing.
func (c *Client) send(n int64) error {
	if c.tls == nil {
		return bulk.Send(c.tcp, n)
	}
	page := bulk.Page()
	for n > 0 {
		sent, err := c.conn.Write(page[:min(n, int64(len(page)))])
		if err != nil {
			return err
		}
		n -= int64(sent)
	}
	return nil
}

// wire is what TLS runs over.
func (c *Client) wire() net.Conn { return c.tcp }
