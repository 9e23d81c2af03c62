package config

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"time"
)

// ACME is the [acme] table.
type ACME struct {
	// Address that CAs write to when something is wrong. Empty: they get none.
	Email string `toml:"email" default:"" form:"email" example:"postmaster@example.org"`

	// You have read the terms of every CA that is asked, and agree to them. Without
	// that nothing is obtained.
	Agreed bool `toml:"agreed" default:"false"`

	// Where CAs find the answers to HTTP-01 challenges. They come to port 80 of the
	// name that is to be proved, on any node of a fleet. It is open only while an
	// issuer may use http-01. Empty: no HTTP-01.
	HTTP string `toml:"http" default:":80" form:"listen"`

	// Where the port of http sends everybody else: a URL, behind which their path is
	// put. Empty: nowhere, they get 404.
	HTTPRedirect string `toml:"http_redirect" default:"" form:"url" example:"https://www.example.org"`

	// Where CAs find the answers to TLS-ALPN-01 challenges. They come to port 443.
	// usher's own listeners with implicit TLS answer them, too, if an issuer may use
	// tls-alpn-01. Empty: no port only for that.
	TLSALPN string `toml:"tls_alpn" default:"" form:"listen" example:":443"`

	// Kinds of keys that each name gets a certificate of: "ecdsa", and "rsa" beside
	// it for clients that know no other. Empty: ecdsa.
	Keys []KeyKind `toml:"keys" default:"[]" example:"[\"ecdsa\", \"rsa\"]"`

	// The DNS server that is told records for DNS-01 challenges, which wildcards need.
	DNS ACMEDNS `toml:"dns"`

	// CAs, asked in this order: the next if one fails. None: Let's Encrypt.
	Issuers []Issuer `toml:"issuer"`
}

// ACMEDNS is the [acme.dns] table.
type ACMEDNS struct {
	// Primary server of the zone, which takes updates (RFC 2136), with or without a
	// port. Empty: no DNS-01.
	Server string `toml:"server" default:"" form:"peer" example:"192.0.2.53"`

	// File with the key that signs the updates (RFC 8945): as tsig-keygen writes it, or
	// its secret alone, in base64. Others must not be able to read it. Required where
	// server is set.
	TSIGSecretFile string `toml:"tsig_secret_file" default:"" form:"path" example:"/etc/usher/tsig.key"`

	// Name of that key, where the file does not say it.
	TSIGName string `toml:"tsig_name" default:"" form:"domain" example:"usher-key"`

	// What it signs with, where the file does not say it.
	TSIGAlgorithm TSIGAlgorithm `toml:"tsig_algorithm" default:"hmac-sha256"`

	// How long a record may take until the server shows it. 0: nobody looks.
	Wait time.Duration `toml:"wait" default:"2m" range:"0s..10m"`
}

// Issuer is one [[acme.issuer]].
type Issuer struct {
	// Name in logs and tables.
	Name string `toml:"name" required:"yes" form:"name" example:"letsencrypt"`

	// Where the CA's ACME begins.
	Directory string `toml:"directory" default:"https://acme-v02.api.letsencrypt.org/directory" form:"url"`

	// Authorities of the CA's own HTTPS, PEM, for a CA of your own. Empty: those of
	// the system.
	CAFile string `toml:"ca_file" default:"" form:"path" example:"/etc/usher/own-ca.pem"`

	// Id of an account that the CA knows otherwise, for CAs that want one (external
	// account binding).
	EABKeyID string `toml:"eab_key_id" default:"" form:"word" example:"kid-1"`

	// File with the key of that account, base64url, as the CA has given it. Others
	// must not be able to read it.
	EABKeyFile string `toml:"eab_key_file" default:"" form:"path" example:"/etc/usher/eab.secret"`

	// Challenges that may be used. Empty: all that are set up, http-01 by http,
	// tls-alpn-01 by tls_alpn, dns-01 by [acme.dns].
	Challenges []Challenge `toml:"challenges" default:"[]" example:"[\"http-01\"]"`

	// Common name of a CA above the certificate, where the issuer has several chains
	// to choose from. Empty: its first.
	Chain string `toml:"chain" default:"" form:"word" example:"ISRG Root X1"`
}

// KeyKind is an algorithm of private keys.
type KeyKind string

// The kinds.
const (
	KeyECDSA KeyKind = "ecdsa"
	KeyRSA   KeyKind = "rsa"
)

// Allowed lists the values.
func (KeyKind) Allowed() []string { return list(KeyECDSA, KeyRSA) }

// Challenge is a way to prove to a CA that a name is ours.
type Challenge string

// The challenges.
const (
	HTTP01    Challenge = "http-01"
	TLSALPN01 Challenge = "tls-alpn-01"
	DNS01     Challenge = "dns-01"
)

// Allowed lists the values.
func (Challenge) Allowed() []string { return list(HTTP01, TLSALPN01, DNS01) }

// TSIGAlgorithm signs updates of DNS.
type TSIGAlgorithm string

// The algorithms that RFC 8945 §6 recommends or allows.
const (
	HMACSHA256 TSIGAlgorithm = "hmac-sha256"
	HMACSHA384 TSIGAlgorithm = "hmac-sha384"
	HMACSHA512 TSIGAlgorithm = "hmac-sha512"
)

// Allowed lists the values.
func (TSIGAlgorithm) Allowed() []string { return list(HMACSHA256, HMACSHA384, HMACSHA512) }

// maxNames bounds the names in a file: what one node can keep at hand.
const maxNames = 10000

// ReadNames reads names, or patterns of them, one on a line; what begins with # is
// for people.
func ReadNames(path string) ([]string, error) {
	data, err := readFile(path, maxPEM, false)
	if err != nil {
		return nil, err
	}
	names, err := parseNames(data)
	if err != nil {
		return nil, fmt.Errorf("%s, %w", path, err)
	}
	return names, nil
}

func parseNames(data []byte) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		name, _, _ := strings.Cut(lines.Text(), "#")
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !isCertName(name) {
			return nil, fmt.Errorf("line %d: %q is no %s", n, name, forms["certname"].want)
		}
		if names = append(names, strings.ToLower(name)); len(names) > maxNames {
			return nil, fmt.Errorf("line %d: more than %d names", n, maxNames)
		}
	}
	return names, lines.Err()
}

// isCertName takes host names of two labels or more, the first of which may be a star.
func isCertName(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	return isDomain(s) && strings.Contains(strings.TrimSuffix(s, "."), ".") && !strings.HasSuffix(s, ".")
}
