package load

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
)

const (
	// inputSize holds a few answers; what of a line goes beyond is read over.
	inputSize = 2048
	// maxUntagged is how many lines a target may say before its verdict. Some
	// tell their capabilities unasked; a target that says more than this is broken.
	maxUntagged = 64
)

// input is what a client needs while it awaits something: it goes back to a
// pool with the last octet that was awaited.
type input struct {
	buf  [inputSize]byte
	r, w int    // the octets not yet taken are buf[r:w]
	out  []byte // where commands are put together
}

var inputs = sync.Pool{New: func() any { return &input{out: make([]byte, 0, 256)} }}

func (c *Client) hold() *input {
	if c.in == nil {
		c.in = inputs.Get().(*input)
	}
	return c.in
}

// release gives the input back, unless it holds what a later command will want.
func (c *Client) release() {
	if c.in != nil && c.in.r == c.in.w {
		c.in.r, c.in.w = 0, 0
		inputs.Put(c.in)
		c.in = nil
	}
}

// fill reads more behind what is there already.
func (c *Client) fill() error {
	in := c.in
	if in.r > 0 {
		in.w = copy(in.buf[:], in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := c.conn.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// line takes the next line, without its end. Of a long one it is the beginning.
// It holds until the next call.
func (c *Client) line() ([]byte, error) {
	in := c.hold()
	seen := 0
	for {
		if i := bytes.IndexByte(in.buf[in.r+seen:in.w], '\n'); i >= 0 {
			line := in.buf[in.r : in.r+seen+i]
			in.r += seen + i + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		seen = in.w - in.r
		if seen == len(in.buf) {
			seen /= 2 // drop the second half: the verdict is in the first
			in.w = in.r + seen
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// greeting waits for the first line, which must let us go on.
func (c *Client) greeting() error {
	if err := c.arm(); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	want := "* OK"
	if c.pop3 {
		want = "+OK"
	}
	if !bytes.HasPrefix(line, []byte(want)) {
		return fmt.Errorf("greeting: %w", verdict(line))
	}
	c.release()
	return nil
}

// answer waits for the verdict on the last command.
func (c *Client) answer() error {
	if c.pop3 {
		line, err := c.line()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("+OK")) {
			return verdict(line)
		}
		c.release()
		return nil
	}
	line, err := c.tagged()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("OK")) {
		return verdict(line)
	}
	c.release()
	return nil
}

// tagged reads up to the answer that bears the last command's tag, and returns
// what is behind that.
func (c *Client) tagged() ([]byte, error) {
	var room [12]byte
	tag := append(strconv.AppendUint(append(room[:0], 'a'), uint64(c.tag), 10), ' ')
	for range maxUntagged {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		if rest, ok := bytes.CutPrefix(line, tag); ok {
			return rest, nil
		}
		if !bytes.HasPrefix(line, []byte("* ")) {
			return nil, fmt.Errorf("%w: %.80q", ErrAnswer, line)
		}
	}
	return nil, fmt.Errorf("%w: more than %d lines before the verdict", ErrAnswer, maxUntagged)
}

// proceed waits for the "+" that lets a command go on (RFC 9051 §7.5).
func (c *Client) proceed() error {
	for range maxUntagged {
		line, err := c.line()
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte("+")):
			return nil
		case !bytes.HasPrefix(line, []byte("* ")):
			return verdict(line)
		}
	}
	return fmt.Errorf("%w: more than %d lines and no leave to go on", ErrAnswer, maxUntagged)
}

// verdict is the error that a line means which is not the hoped-for one.
func verdict(line []byte) error {
	for word := range bytes.FieldsSeq(line[:min(len(line), 40)]) {
		switch string(bytes.ToUpper(word)) {
		case "NO", "BAD", "BYE", "-ERR":
			return fmt.Errorf("%w: %.120s", ErrRefused, line)
		}
	}
	return fmt.Errorf("%w: %.80q", ErrAnswer, line)
}
