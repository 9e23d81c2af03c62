package pebble

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// maxAnswer bounds what the programs may answer.
const maxAnswer = 1 << 20

// Roots is a pool with the root that the CA signs by. It is another after Restart.
func (s *Server) Roots() *x509.CertPool {
	s.t.Helper()
	pem, err := s.fetch("/roots/0")
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		s.t.Fatalf("no root in %q", pem)
	}
	return pool
}

// Orders counts the certificates that the CA has made since its start, and Accounts
// the accounts.
func (s *Server) Orders() int { return s.count(`Issued certificate serial`) }

// Accounts counts the accounts that the CA has made since its start.
func (s *Server) Accounts() int { return s.count(`There are now \d+ accounts in memory`) }

func (s *Server) count(what string) int {
	s.t.Helper()
	log, err := os.ReadFile(s.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(regexp.MustCompile(what).FindAll(log, -1))
}

// Logged says whether the CA's log has a text.
func (s *Server) Logged(text string) bool { return strings.Contains(s.logs(), text) }

func (s *Server) fetch(path string) ([]byte, error) {
	t := &http.Transport{TLSClientConfig: s.config(), DisableKeepAlives: true}
	c := http.Client{Transport: t, Timeout: 5 * time.Second}
	resp, err := c.Get(s.management + path)
	return read(resp, err)
}

func read(resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %q", resp.Status, data)
	}
	return data, err
}

func (s *Server) must(path string, what any) {
	s.t.Helper()
	if err := s.tell(path, what); err != nil {
		s.t.Fatal(err)
	}
}

// tell sets a record.
func (s *Server) tell(path string, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := c.Post(s.names+path, "application/json", bytes.NewReader(body))
	_, err = read(resp, err)
	return err
}
