package main_test

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// A mechanism is the client's side of one SASL exchange.
type mechanism struct {
	name string
	// next answers the n-th challenge, from 0; the first one is empty.
	next   func(n int, challenge []byte) ([]byte, error)
	cancel int // the client gives up in place of this answer, from 1; zero: never
	sent   int
	err    error // of the exchange, for the client to show
}

func (m *mechanism) answer(challenge []byte) []byte {
	out, err := m.next(m.sent, challenge)
	m.sent++
	m.err = errors.Join(m.err, err)
	return out
}

// answers returns a mechanism whose client does not look at the challenges.
func answers(name string, lines ...string) *mechanism {
	return &mechanism{name: name, next: func(n int, challenge []byte) ([]byte, error) {
		if n >= len(lines) {
			return nil, fmt.Errorf("challenge %q after the last answer", challenge)
		}
		return []byte(lines[n]), nil
	}}
}

// cancelling makes the client give up in place of its n-th answer.
func (m *mechanism) cancelling(n int) *mechanism {
	m.cancel = n
	return m
}

func plain(authz, user, password string) *mechanism {
	return answers("PLAIN", authz+"\x00"+user+"\x00"+password)
}

// login2 is the mechanism LOGIN, which asks twice.
func login2(user, password string) *mechanism {
	return answers("LOGIN", user, password)
}

// xoauth2 also gives the empty answer that a refusal waits for.
func xoauth2(user, token string) *mechanism {
	return dance("XOAUTH2", "user="+user+"\x01auth=Bearer "+token+"\x01\x01", "")
}

// oauthbearer also gives the answer that a refusal waits for (RFC 7628 §3.2.3).
func oauthbearer(user, token string) *mechanism {
	return dance("OAUTHBEARER", "n,a="+user+",\x01auth=Bearer "+token+"\x01\x01", "\x01")
}

// dance gives a token, and to a challenge in JSON, which is a refusal, the
// answer that it waits for.
func dance(name, first, then string) *mechanism {
	return &mechanism{name: name, next: func(n int, challenge []byte) ([]byte, error) {
		switch {
		case n == 0:
			return []byte(first), nil
		case n == 1 && strings.HasPrefix(string(challenge), "{") && strings.HasSuffix(string(challenge), "}"):
			return []byte(then), nil
		}
		return nil, fmt.Errorf("challenge %d: got %q, want one refusal in JSON", n, challenge)
	}}
}

func external(user string) *mechanism { return answers("EXTERNAL", user) }

func scramSHA1(user, password string) *mechanism {
	return scram("SCRAM-SHA-1", sha1.New, user, password)
}

func scramSHA256(user, password string) *mechanism {
	return scram("SCRAM-SHA-256", sha256.New, user, password)
}

// scram is RFC 5802 §3 without channel binding. It checks the server's proof
// too: that shows that both ends saw every octet of each other.
func scram[H hash.Hash](name string, newHash func() H, user, password string) *mechanism {
	mac := func(key []byte, text string) []byte {
		m := hmac.New(func() hash.Hash { return newHash() }, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	bare := "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) + ",r=fyko+d2lbbFgONRv9qkxdawL"
	var want string
	return &mechanism{name: name, next: func(n int, challenge []byte) ([]byte, error) {
		switch n {
		case 0:
			return []byte("n,," + bare), nil
		case 1:
			attrs := map[string]string{}
			for attr := range strings.SplitSeq(string(challenge), ",") {
				key, value, _ := strings.Cut(attr, "=")
				attrs[key] = value
			}
			salt, err := base64.StdEncoding.DecodeString(attrs["s"])
			rounds, err2 := strconv.Atoi(attrs["i"])
			if err := errors.Join(err, err2); err != nil {
				return nil, fmt.Errorf("server-first %q: %w", challenge, err)
			}
			h := newHash()
			salted, err := pbkdf2.Key(newHash, password, salt, rounds, h.Size())
			if err != nil {
				return nil, err
			}
			key := mac(salted, "Client Key")
			h.Write(key)
			final := "c=biws,r=" + attrs["r"]
			text := bare + "," + string(challenge) + "," + final
			for i, b := range mac(h.Sum(nil), text) {
				key[i] ^= b
			}
			want = "v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), text))
			return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(key)), nil
		case 2:
			if string(challenge) != want {
				return nil, fmt.Errorf("server's proof: got %q, want %q", challenge, want)
			}
			return nil, nil
		}
		return nil, fmt.Errorf("challenge %q after the last answer", challenge)
	}}
}
