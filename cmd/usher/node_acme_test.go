package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"usher.example/balancer/certs"
	"usher.example/cmd/internal/config"
)

// A port that is taken costs a line in the log, once, and is opened when it is free;
// a port that no issuer needs is not opened.
func TestDoorkeeper(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var log bytes.Buffer
	d := newDoorkeeper(certs.New(certs.Options{}), slog.New(slog.NewTextHandler(&log, nil)))
	defer d.doors.Close()
	c := config.ACME{HTTP: taken.Addr().String(), TLSALPN: "127.0.0.1:0", Issuers: []config.Issuer{{Challenges: []config.Challenge{config.HTTP01}}}}
	d.apply(c)
	d.try()
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), taken.Addr().String()) {
		t.Errorf("got %d warnings: %s", n, log.String())
	}
	if h, a := d.doors.Addresses(); h != "" || a != "" {
		t.Errorf("open are %q and %q", h, a)
	}
	taken.Close()
	d.try()
	h, a := d.doors.Addresses()
	if h != c.HTTP || a != "" {
		t.Errorf("open are %q and %q, want %q alone", h, a, c.HTTP)
	}
	resp, err := http.Get("http://" + h + "/.well-known/acme-challenge/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s, %v", resp.Status, err)
	}
	c.Issuers[0].Challenges = []config.Challenge{config.TLSALPN01}
	d.apply(c)
	if h, a := d.doors.Addresses(); h != "" || a == "" {
		t.Errorf("after a reload open are %q and %q", h, a)
	}
}
