package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/mholt/acmez/v3"
)

// ChallengeProtocol is the ALPN name of a TLS connection by which a CA looks for the
// answer to its challenge (RFC 8737 §4): nothing is said over it, it ends with the
// handshake.
const ChallengeProtocol = acmez.ACMETLS1Protocol

const (
	challengePath = "/.well-known/acme-challenge/" // RFC 8555 §8.3

	// maxToken bounds a token; CAs make them of 43 characters.
	maxToken = 128
)

var errNoChallenge = errors.New("no challenge is open for the name")

// dare finds the challenge that is open for a name, wherever its order runs.
func (r *registrar) dare(ctx context.Context, name string) (*dare, error) {
	configured, allowed := r.policy().answers(name)
	news, there := r.heard.of(name)
	if !allowed && !there {
		return nil, errNoChallenge
	}
	if d := r.dares.get(name); d != nil {
		return d, nil
	}
	d, err := r.lookups.get(ctx, name, configured || there)
	if there && errors.Is(err, fs.ErrNotExist) {
		r.heard.forget(name, news)
	}
	return d, err
}

// challengeKeys are where a challenge of a name may be.
func (r *registrar) challengeKeys(name string) []string {
	var keys []string
	if news, there := r.heard.of(name); there {
		keys = append(keys, news.key)
	}
	for _, ca := range r.policy().cas {
		if key := challengeKey(ca, name); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// ServeHTTP answers HTTP-01 challenges, those of other nodes too.
func (r *registrar) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	token, ok := strings.CutPrefix(q.URL.Path, challengePath)
	if !ok {
		if to := r.policy().Redirect; to != "" {
			http.Redirect(w, q, strings.TrimSuffix(to, "/")+q.URL.RequestURI(), http.StatusFound)
			return
		}
		http.NotFound(w, q)
		return
	}
	if len(token) == 0 || len(token) > maxToken || q.Method != http.MethodGet {
		http.NotFound(w, q)
		return
	}
	d, err := r.dare(q.Context(), hostName(q.Host))
	if errors.Is(err, errBusy) {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if d = d.pick(HTTP01, token); err != nil || d == nil {
		r.log.Debug("a challenge was asked for that is not open", "name", fmt.Sprintf("%.100q", q.Host), "client", q.RemoteAddr)
		http.NotFound(w, q)
		return
	}
	r.log.Debug("a challenge is answered", "challenge", HTTP01, "name", d.Identifier.Value, "client", q.RemoteAddr)
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.WriteString(w, d.KeyAuthorization) // who does not read it asks again
}

// hostName is the name in a Host header.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return canonical(host)
}

// challenged says whether a client is a CA that looks for an answer: it offers that
// protocol alone (RFC 8737 §3).
func challengedBy(hello *tls.ClientHelloInfo) bool {
	return slices.Equal(hello.SupportedProtos, []string{ChallengeProtocol})
}

// challenge is the configuration of handshakes with a CA that looks for an answer,
// nil for all others: to be asked first by what is a listener's GetConfigForClient.
// Where TLS-ALPN-01 is not in use, by this node or for the name by another, it is nil for
// CAs, too.
func (r *registrar) challenge(hello *tls.ClientHelloInfo) *tls.Config {
	if !challengedBy(hello) {
		return nil
	}
	if _, there := r.heard.of(canonical(hello.ServerName)); !there && !r.policy().uses(TLSALPN01) {
		return nil
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{ChallengeProtocol},
		SessionTicketsDisabled: true,
		GetCertificate:         r.answer,
	}
}

// answer is the certificate that answers a challenge.
func (r *registrar) answer(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	d, err := r.dare(hello.Context(), canonical(hello.ServerName))
	if err != nil {
		return nil, err
	}
	if d = d.pick(TLSALPN01, ""); d == nil {
		return nil, errNoChallenge
	}
	r.log.Debug("a challenge is answered", "challenge", TLSALPN01, "name", d.Identifier.Value, "client", hello.Conn.RemoteAddr())
	return d.certificate()
}
