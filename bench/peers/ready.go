package peers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	// readyTime is how long a target may take until it serves, on a busy machine.
	readyTime = 20 * time.Second

	// readyPause is the time between two tries.
	readyPause = 20 * time.Millisecond

	// tryTime is how long one login may take.
	tryTime = 5 * time.Second
)

// ready logs in by every port that the target has, until that works.
func (p *place) ready(ctx context.Context, t *Target, peer Peer) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for _, protocol := range []string{imap, pop3} {
		for _, security := range []string{implicit, plain} {
			if !peer.Serves(protocol, security) {
				continue
			}
			for {
				err := tryLogin(ctx, peer, protocol, security, t.Addr(protocol, security))
				if err == nil {
					break
				}
				if t.Group != nil {
					if dead := t.Group.Alive(); dead != nil {
						return dead
					}
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("no login by %s, %s: %w", protocol, security, err)
				case <-time.After(readyPause):
				}
			}
		}
	}
	return nil
}

// tryLogin logs a user in and out.
func tryLogin(ctx context.Context, peer Peer, protocol, security, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if security == implicit {
		c = tls.Client(c, &tls.Config{
			InsecureSkipVerify: true, // the load looks at certificates, this at nothing but life
			MinVersion:         tls.VersionTLS13,
			CurvePreferences:   []tls.CurveID{peer.Curve},
		})
	}
	lines := bufio.NewReader(c)
	// Each command, and how the line begins that ends its answer.
	steps := [][2]string{{"", "* OK"}, {"a LOGIN ready@bench.example secret\r\n", "a OK"}, {"b LOGOUT\r\n", "b OK"}}
	if protocol == pop3 {
		steps = [][2]string{{"", "+OK"}, {"USER ready@bench.example\r\n", "+OK"}, {"PASS secret\r\n", "+OK"}, {"QUIT\r\n", "+OK"}}
	}
	for _, step := range steps {
		if _, err := c.Write([]byte(step[0])); err != nil {
			return err
		}
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return fmt.Errorf("wait for %q: %w", step[1], err)
			}
			if strings.HasPrefix(line, step[1]) {
				break
			}
			if !strings.HasPrefix(line, "* ") {
				return errors.New("wait for " + step[1] + ": " + strings.TrimSpace(line))
			}
		}
	}
	return nil
}
