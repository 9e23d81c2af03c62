package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cmd/internal/config"
)

const (
	// answerTime is the patience of a command. A node that needs longer is one
	// that does not answer.
	answerTime = 30 * time.Second
	// maxAnswer bounds what is read: 400,000 sessions at about 600 octets.
	maxAnswer = 256 << 20
)

// An adminClient asks the running usher over its admin socket.
type adminClient struct {
	socket string // or where else it asks, for people
	http   http.Client
	base   string        // over TCP: https://host:port
	token  config.Secret // over TCP: who asks; empty: a certificate says it
}

// adminOf returns the client of a command, for the socket of its flags.
func adminOf(cmd *cobra.Command) (*adminClient, error) {
	said, err := remote(cmd)
	if err != nil {
		return nil, err
	}
	if said["api"] != "" {
		return remoteClient(said)
	}
	socket, err := cmd.Flags().GetString("socket")
	if err != nil {
		return nil, err
	}
	if socket == "" {
		return nil, usageError("--socket is empty; say where the admin socket is, as admin.socket does in the configuration")
	}
	var d net.Dialer
	return &adminClient{socket: socket, http: http.Client{
		Timeout: answerTime,
		Transport: &http.Transport{
			DisableKeepAlives: true, // a command asks once
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, "unix", socket)
			},
		},
	}}, nil
}

// get asks a question and decodes the answer.
func (c *adminClient) get(ctx context.Context, path string, query url.Values, answer any) error {
	return c.do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, answer)
}

// post gives an order and decodes the answer.
func (c *adminClient) post(ctx context.Context, path string, order, answer any) error {
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, body, answer)
}

func (c *adminClient) do(ctx context.Context, method, target string, body []byte, answer any) error {
	r, err := c.request(ctx, method, target, body)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	got, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = got.Body.Close() }()
	d := json.NewDecoder(io.LimitReader(got.Body, maxAnswer))
	if got.StatusCode != http.StatusOK {
		return refused(got.StatusCode, d)
	}
	if err := d.Decode(answer); err != nil {
		return &exitError{exitTemporary, fmt.Errorf("the answer on %s was cut off or is not usher's: %w", c.socket, err)}
	}
	return nil
}

// request is a question as whoever is asked wants it, with who asks.
func (c *adminClient) request(ctx context.Context, method, target string, body []byte) (*http.Request, error) {
	// The host is of no meaning on a unix socket, but HTTP wants one.
	r, err := http.NewRequestWithContext(ctx, method, cmp.Or(c.base, "http://usher")+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	return r, nil
}

// unreachable says what to do about a socket that does not answer.
func (c *adminClient) unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the method and a host that does not exist
	}
	if c.base != "" {
		return c.unreachableAPI(err)
	}
	code, next := exitTemporary, ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		next = "usher is not running, or its socket is elsewhere: try systemctl status usher, or --socket with the path of admin.socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		next = "usher has ended without taking its socket away: try systemctl status usher"
	case errors.Is(err, fs.ErrPermission):
		code = exitFailed
		next = "run this as root, or as a member of the socket's group (admin.socket_mode, admin.socket_group)"
	case isTimeout(err):
		next = "usher runs but does not answer: try again, and look into its log"
	default:
		next = "try systemctl status usher"
	}
	return &exitError{code, fmt.Errorf("ask usher on %s: %w; %s", c.socket, err, next)}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// refused makes an error of an answer that is none.
func refused(status int, d *json.Decoder) error {
	code := exitFailed
	switch {
	case status == http.StatusNotImplemented: // it never will
	case status >= http.StatusInternalServerError, status == http.StatusConflict:
		code = exitTemporary
	case status == http.StatusNotFound:
		code = exitNotFound
	}
	var r admin.Refusal
	if err := d.Decode(&r); err != nil || r.Message == "" {
		if code == exitNotFound {
			code = exitFailed // the path is what was not found
		}
		return &exitError{code, fmt.Errorf("usher answered %d %s; are both of the same version?", status, http.StatusText(status))}
	}
	return &exitError{code, fmt.Errorf("usher refused: %w", &r)}
}
