package certstore_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// window is how many octets of a key in a row count as found: no others are like them.
const window = 16

// A secretKey is a private key and what of it nobody may see: its secret numbers, as
// they are and in base64 at any offset.
type secretKey struct {
	pem   []byte
	parts [][]byte
}

func newSecretKeys(t *testing.T) []secretKey {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := []secretKey{newSecretKey(t, ec, scalar), newSecretKey(t, large, large.D.Bytes(), large.Primes[0].Bytes(), large.Primes[1].Bytes())}
	for _, k := range keys {
		if !k.in(k.pem) || !k.in([]byte(base64.StdEncoding.EncodeToString(k.pem))) {
			t.Fatal("a key is not found in its own PEM: the test is blind")
		}
	}
	return keys
}

func newSecretKey(t *testing.T, key any, numbers ...[]byte) secretKey {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	k := secretKey{pem: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
	for _, n := range numbers {
		for at := 0; at+window <= len(n); at += window / 2 {
			k.parts = append(k.parts, n[at:at+window])
		}
	}
	for line := range bytes.Lines(k.pem) {
		if len(line) > window && !bytes.HasPrefix(line, []byte("-----")) && !bytes.HasPrefix(line, []byte("MI")) {
			k.parts = append(k.parts, bytes.TrimSpace(line)[:window])
		}
	}
	for _, whole := range [][]byte{der, k.pem} { // as the table would write it, were it not sealed
		for shift := range 3 { // however it is aligned
			text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), whole...))
			for at := len(text) / 2; at+window <= len(text)-window; at += 64 { // behind what all keys begin with
				k.parts = append(k.parts, []byte(text[at:at+window]))
			}
		}
	}
	return k
}

// in says whether anything of the key is in some octets.
func (k secretKey) in(b []byte) bool {
	for _, p := range k.parts {
		if bytes.Contains(b, p) {
			return true
		}
	}
	return false
}

// TestNothingInClear stores private keys on a fleet of three and on a node alone, and
// looks for them in all that these write and send, while they run and when they have
// ended.
func TestNothingInClear(t *testing.T) {
	t.Parallel()
	keys := newSecretKeys(t)
	nodes := append(trio(t), single(t))
	wire := listen(t, nodes[:3])
	for _, k := range keys {
		wire.watch(k.parts...)
	}
	for i, n := range []*node{nodes[0], nodes[1], nodes[3]} {
		for j, k := range keys {
			name := "keys/marker-" + string(rune('a'+i)) + string(rune('a'+j))
			if err := n.Store.Store(t.Context(), name, k.pem); err != nil {
				t.Fatal(err)
			}
			if got, err := n.Load(t.Context(), name); err != nil || !bytes.Equal(got, k.pem) {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	onDisk := func() {
		for _, n := range nodes {
			marked := false
			err := filepath.WalkDir(n.o.State, func(path string, entry fs.DirEntry, err error) error {
				if err != nil || !entry.Type().IsRegular() {
					return err
				}
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				b = bytes.TrimRight(b, "\x00") // the log has its files' whole length from the start
				marked = marked || bytes.Contains(b, []byte("marker-"))
				for i, k := range keys {
					if k.in(b) {
						t.Errorf("key %d is in clear in %s", i, path)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if !marked {
				t.Errorf("%s has not even the names of the keys: the test is blind", n.o.State)
			}
		}
	}
	onDisk()
	for _, n := range nodes {
		n.end() // with a snapshot
	}
	onDisk()
	wire.judge()
}
