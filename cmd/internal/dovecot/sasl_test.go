package dovecot_test

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"testing"
)

// A mechanism answers a server's challenges, one for one.
type mechanism struct {
	name string
	next func(t testing.TB, challenge []byte) []byte
}

// answers returns a mechanism whose client does not look at the challenges.
func answers(name string, lines ...string) mechanism {
	return mechanism{name, func(t testing.TB, challenge []byte) []byte {
		t.Helper()
		if len(lines) == 0 {
			t.Fatalf("%s: challenge %q after the last answer", name, challenge)
		}
		line := lines[0]
		lines = lines[1:]
		return []byte(line)
	}}
}

func plain(authz, user, password string) mechanism {
	return answers("PLAIN", authz+"\x00"+user+"\x00"+password)
}

func login(user, password string) mechanism { return answers("LOGIN", user, password) }

// xoauth2 also gives the empty answer that a refusal's JSON waits for.
func xoauth2(user, token string) mechanism {
	return answers("XOAUTH2", "user="+user+"\x01auth=Bearer "+token+"\x01\x01", "")
}

// oauthbearer also gives the answer that a refusal waits for (RFC 7628 §3.2.3).
func oauthbearer(user, token string) mechanism {
	return answers("OAUTHBEARER", "n,a="+user+",\x01auth=Bearer "+token+"\x01\x01", "\x01")
}

func external(user string) mechanism { return answers("EXTERNAL", user) }

func scramSHA1(user, password string) mechanism {
	return scram("SCRAM-SHA-1", sha1.New, user, password)
}

func scramSHA256(user, password string) mechanism {
	return scram("SCRAM-SHA-256", sha256.New, user, password)
}

// scram is the client's side of RFC 5802 §3, without channel binding. It checks
// the server's proof too: that shows a server that really knows the password.
func scram[H hash.Hash](name string, newHash func() H, user, password string) mechanism {
	mac := func(key []byte, text string) []byte {
		m := hmac.New(func() hash.Hash { return newHash() }, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	clientFirst := "n=" + user + ",r=fyko+d2lbbFgONRv9qkxdawL"
	var serverSignature []byte
	step := 0
	return mechanism{name, func(t testing.TB, challenge []byte) []byte {
		t.Helper()
		step++
		switch step {
		case 1:
			return []byte("n,," + clientFirst)
		case 2:
			serverFirst := string(challenge)
			attrs := map[string]string{}
			for attr := range strings.SplitSeq(serverFirst, ",") {
				key, value, _ := strings.Cut(attr, "=")
				attrs[key] = value
			}
			salt, err := base64.StdEncoding.DecodeString(attrs["s"])
			if err != nil {
				t.Fatalf("salt of %q: %v", serverFirst, err)
			}
			rounds, err := strconv.Atoi(attrs["i"])
			if err != nil {
				t.Fatalf("rounds of %q: %v", serverFirst, err)
			}
			h := newHash()
			salted, err := pbkdf2.Key(newHash, password, salt, rounds, h.Size())
			if err != nil {
				t.Fatal(err)
			}
			clientKey := mac(salted, "Client Key")
			h.Write(clientKey)
			final := "c=biws,r=" + attrs["r"]
			auth := clientFirst + "," + serverFirst + "," + final
			proof := mac(h.Sum(nil), auth)
			for i := range proof {
				proof[i] ^= clientKey[i]
			}
			serverSignature = mac(mac(salted, "Server Key"), auth)
			return fmt.Appendf(nil, "%s,p=%s", final, base64.StdEncoding.EncodeToString(proof))
		default:
			want := "v=" + base64.StdEncoding.EncodeToString(serverSignature)
			if got := string(challenge); got != want {
				t.Fatalf("server's proof: got %q, want %q", got, want)
			}
			return nil
		}
	}}
}
