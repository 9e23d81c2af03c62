package handshake

import (
	"bytes"
	"encoding/hex"
)

// A label is a kind of secret in a key log (RFC 9850).
type label uint8

const (
	master label = iota // of TLS 1.2
	clientHandshake
	serverHandshake
	clientTraffic
	serverTraffic
	labels
)

var labelNames = [labels]string{
	master:          "CLIENT_RANDOM",
	clientHandshake: "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
	serverHandshake: "SERVER_HANDSHAKE_TRAFFIC_SECRET",
	clientTraffic:   "CLIENT_TRAFFIC_SECRET_0",
	serverTraffic:   "SERVER_TRAFFIC_SECRET_0",
}

const (
	randomLen = 32
	masterLen = 48 // RFC 5246 §8.1
	maxSecret = 48 // of TLS 1.3: the hash is SHA-384 at most
)

// A sink takes the key log of one connection. crypto/tls writes it from within
// the handshake, so there is one goroutine.
type sink struct {
	secret [labels][maxSecret]byte
	size   [labels]uint8
	random [randomLen]byte // of the ClientHello, as the log tells it
	lines  int
	odd    bool // there was a line that cannot be right
	closed bool
}

// Write implements io.Writer for crypto/tls, which writes one line at a time. It
// never fails: that would fail the handshake.
//
// It wipes the line, against what io.Writer allows: crypto/tls has made it for
// this call, and nobody looks at it again.
func (s *sink) Write(line []byte) (int, error) {
	if !s.closed && !s.take(bytes.TrimSuffix(line, []byte("\n"))) {
		s.odd = true
	}
	clear(line)
	return len(line), nil
}

// take reads "label client_random secret", the latter two in hexadecimal.
func (s *sink) take(line []byte) bool {
	name, rest, _ := bytes.Cut(line, []byte(" "))
	random, secret, _ := bytes.Cut(rest, []byte(" "))
	for l, want := range labelNames {
		if string(name) == want {
			return s.takeRandom(random) && s.takeSecret(label(l), secret)
		}
	}
	return true // a kind that we have no use for
}

// takeRandom wants the same in every line: there is one handshake.
func (s *sink) takeRandom(text []byte) bool {
	var random [randomLen]byte
	if len(text) != hex.EncodedLen(randomLen) {
		return false
	}
	if _, err := hex.Decode(random[:], text); err != nil {
		return false
	}
	s.lines++
	if s.lines > 1 && random != s.random {
		return false
	}
	s.random = random
	return true
}

func (s *sink) takeSecret(l label, text []byte) bool {
	var secret [maxSecret]byte
	defer clear(secret[:])
	if len(text) > hex.EncodedLen(maxSecret) {
		return false
	}
	n, err := hex.Decode(secret[:], text)
	return err == nil && s.put(l, secret[:n])
}

// put sets a secret; a later one replaces an earlier.
func (s *sink) put(l label, secret []byte) bool {
	if s.closed || len(secret) == 0 || len(secret) > maxSecret || l == master && len(secret) != masterLen {
		return false
	}
	s.size[l] = uint8(copy(s.secret[l][:], secret))
	return true
}

// of returns a secret, empty if there is none.
func (s *sink) of(l label) []byte { return s.secret[l][:s.size[l]] }

// wipe forgets everything and takes nothing more.
func (s *sink) wipe() { *s = sink{closed: true} }
