package rfc2136

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"

	"github.com/miekg/dns"
)

const (
	// minSecret is 128 bits, the least that nobody guesses. tsig-keygen makes
	// as many as the hash has, 32 and more (RFC 2104 §3).
	minSecret = 16

	// maxSecret is beyond the block of SHA-512, from where on HMAC hashes the
	// secret before use and a longer one gains nothing.
	maxSecret = 256

	// maxKeyFile bounds the text that ParseKey looks at: a key with comments.
	maxKeyFile = 16 << 10
)

// A Secret is what both ends of TSIG share. It cannot print itself, not even as
// a field that fmt reaches by reflection, which follows no pointer that deep.
type Secret struct{ octets *[]byte }

// NewSecret takes over the octets.
func NewSecret(octets []byte) Secret { return Secret{&octets} }

// reveal returns the octets; the zero Secret has none.
func (s Secret) reveal() []byte {
	if s.octets == nil {
		return nil
	}
	return *s.octets
}

func (Secret) String() string               { return "[redacted]" }
func (Secret) GoString() string             { return "[redacted]" }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// A Key signs updates and is how their answers are believed (TSIG, RFC 8945).
type Key struct {
	// Name is the key's name, as the server's configuration spells it.
	Name string

	// Algorithm is hmac-sha256, hmac-sha384 or hmac-sha512; empty is the
	// first. MD5 and SHA-1 are refused, although servers may know them still.
	Algorithm string

	// Secret has 16 to 256 octets.
	Secret Secret
}

// algorithms are those of RFC 8945 §6 that are recommended, or stronger.
var algorithms = map[string]func() hash.Hash{
	dns.HmacSHA256: sha256.New,
	dns.HmacSHA384: sha512.New384,
	dns.HmacSHA512: sha512.New,
}

// check completes a key, or says what is wrong with it.
func (k Key) check() (Key, error) {
	if k.Name == "" {
		return k, errors.New("the TSIG key has no name: give it the one that the name server's configuration has for it")
	}
	if _, ok := dns.IsDomainName(k.Name); !ok {
		return k, fmt.Errorf("%q is no name of a TSIG key: it is spelt like a domain, such as acme-update", k.Name)
	}
	k.Name = dns.CanonicalName(k.Name)
	if k.Algorithm == "" {
		k.Algorithm = dns.HmacSHA256
	}
	asked := k.Algorithm
	k.Algorithm = dns.CanonicalName(k.Algorithm)
	if algorithms[k.Algorithm] == nil {
		return k, fmt.Errorf("TSIG algorithm %q is not supported: make a key of hmac-sha256, hmac-sha384 or hmac-sha512, "+
			"such as by tsig-keygen -a hmac-sha256", strings.TrimSuffix(asked, "."))
	}
	switch n := len(k.Secret.reveal()); {
	case n < minSecret:
		return k, fmt.Errorf("the TSIG secret has %d octets, fewer than %d: make a new key, such as by tsig-keygen", n, minSecret)
	case n > maxSecret:
		return k, fmt.Errorf("the TSIG secret has %d octets, more than %d: make a new key, such as by tsig-keygen", n, maxSecret)
	}
	return k, nil
}

// A signer is a checked Key as a dns.TsigProvider.
type signer struct{ Key }

// Generate makes a message's MAC.
func (k signer) Generate(msg []byte, _ *dns.TSIG) ([]byte, error) {
	h := hmac.New(algorithms[k.Algorithm], k.Secret.reveal())
	h.Write(msg)
	return h.Sum(nil), nil
}

// Verify wants a message's MAC to be whole and made with this key.
func (k signer) Verify(msg []byte, t *dns.TSIG) error {
	if dns.CanonicalName(t.Hdr.Name) != k.Name || dns.CanonicalName(t.Algorithm) != k.Algorithm {
		return dns.ErrSecret
	}
	want, err := k.Generate(msg, t)
	if err != nil {
		return err
	}
	got, err := hex.DecodeString(t.MAC)
	if err != nil || !hmac.Equal(got, want) {
		return dns.ErrSig
	}
	return nil
}

// ParseKey reads what tsig-keygen writes, which BIND includes as it is:
//
//	key "acme-update" { algorithm hmac-sha256; secret "base64"; };
//
// or the base64 of a secret alone; such a key has no name and no algorithm yet.
// No error tells anything of the secret.
func ParseKey(text []byte) (Key, error) {
	if len(text) > maxKeyFile {
		return Key{}, fmt.Errorf("a TSIG key file has at most %d octets", maxKeyFile)
	}
	words := keyWords(string(text))
	if len(words) == 1 {
		return keyOf("", "", words[0])
	}
	if len(words) < 3 || words[0] != "key" || words[2] != "{" {
		return Key{}, errors.New(`this is no TSIG key: put the secret's base64 there and nothing else, or what tsig-keygen writes: key "name" { … };`)
	}
	fields := map[string]string{}
	rest := words[3:]
	for len(rest) >= 3 && rest[0] != "}" && rest[2] == ";" {
		if _, twice := fields[rest[0]]; twice {
			return Key{}, errors.New("the TSIG key says algorithm or secret twice: one file holds one key")
		}
		fields[rest[0]] = rest[1]
		rest = rest[3:]
	}
	switch {
	case len(rest) == 0 || rest[0] != "}" || len(rest) > 2 || (len(rest) == 2 && rest[1] != ";"):
		return Key{}, errors.New(`the TSIG key does not end as key "name" { algorithm …; secret "…"; }; does, and one file holds one key`)
	case fields["secret"] == "" || len(fields) > 2 || (len(fields) == 2 && fields["algorithm"] == ""):
		return Key{}, errors.New("the TSIG key must have a line algorithm and a line secret, and no others")
	}
	return keyOf(words[1], fields["algorithm"], fields["secret"])
}

func keyOf(name, algorithm, secret string) (Key, error) {
	octets, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(octets) == 0 {
		return Key{}, errors.New("the TSIG secret is no base64: copy it whole, with the = at its end")
	}
	return Key{Name: name, Algorithm: algorithm, Secret: NewSecret(octets)}, nil
}

// keyWords cuts BIND's syntax into words and the signs { } ; and drops comments
// of a line. A secret may be quoted or not.
func keyWords(text string) []string {
	var words []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "//") || strings.HasPrefix(line, "#") {
			continue
		}
		for _, sign := range []string{"{", "}", ";"} {
			line = strings.ReplaceAll(line, sign, " "+sign+" ")
		}
		for word := range strings.FieldsSeq(line) {
			words = append(words, strings.Trim(word, `"`))
		}
	}
	return words
}
