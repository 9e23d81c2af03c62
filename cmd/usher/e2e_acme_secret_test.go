package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// export writes all keys that are served now to a folder, by the command, and
// returns them in PEM.
func (a *automatic) export(t testing.TB) []string {
	t.Helper()
	var keys []string
	for _, c := range a.obtained(t) {
		dir := t.TempDir()
		a.must(t, "cert", "export", c.ID, "--out", dir, "--key")
		files, err := filepath.Glob(filepath.Join(dir, "*.key"))
		if err != nil || len(files) != 1 {
			t.Fatalf("exported were %q, %v", files, err)
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(text))
	}
	return keys
}

// forms are what a key is known by wherever it lies in clear: its encodings and its
// secret numbers, as octets, in base64 whatever is before them, and in hexadecimal.
func forms(t testing.TB, text string) [][]byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no key was exported")
	}
	secrets := [][]byte{block.Bytes}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
			if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
				t.Fatal(err)
			}
		}
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, pkcs8)
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		sec1, err := x509.MarshalECPrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		scalar, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, sec1, scalar)
	case *rsa.PrivateKey:
		secrets = append(secrets, x509.MarshalPKCS1PrivateKey(k), k.D.Bytes(), k.Primes[0].Bytes(), k.Primes[1].Bytes())
	default:
		t.Fatalf("a key of kind %T", key)
	}
	var all [][]byte
	for _, s := range secrets {
		all = append(all, s, []byte(hex.EncodeToString(s)), []byte(strings.ToUpper(hex.EncodeToString(s))))
		all = append(all, aligned(s)...)
	}
	return all
}

// aligned are octets in base64, behind any number of others: what of the text depends
// on neighbours is left out.
func aligned(secret []byte) [][]byte {
	var all [][]byte
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for ahead, spoilt := range []int{0, 2, 3} {
			text := encoding.EncodeToString(append(make([]byte, ahead), secret...))
			if (ahead+len(secret))%3 > 0 {
				text = text[:len(text)-1]
			}
			all = append(all, []byte(text[spoilt:]))
		}
	}
	return all
}

// discloses says whether one of the forms is in a text, also where lines are broken, as
// PEM does, or as JSON writes that.
func discloses(text []byte, forms [][]byte) bool {
	joined := text
	for _, end := range []string{"\r", "\n", `\r`, `\n`} {
		joined = bytes.ReplaceAll(joined, []byte(end), nil)
	}
	for _, f := range forms {
		if bytes.Contains(text, f) || bytes.Contains(joined, f) {
			return true
		}
	}
	return false
}

// hides looks for keys in all that the node has on its disk, and in its log.
func (a *automatic) hides(t *testing.T, keys []string, log string) {
	t.Helper()
	any := aligned([]byte("PRIVATE KEY-----")) // of keys that nobody exports: that of the account
	any = append(any, []byte("PRIVATE KEY-----"))
	for _, k := range keys {
		f := forms(t, k)
		finds(t, k, f)
		any = append(any, f...)
	}
	files, octets, beside := 0, 0, false
	err := filepath.WalkDir(a.file("state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		content = bytes.TrimRight(content, "\x00") // room that the log has taken ahead
		files, octets = files+1, octets+len(content)
		beside = beside || bytes.Contains(content, []byte(certificateKey))
		if discloses(content, any) {
			t.Errorf("%s has a private key in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !beside {
		t.Errorf("%q is nowhere in the state directory: this looks at the wrong place", certificateKey)
	}
	if discloses([]byte(log), any) {
		t.Error("the log has a private key")
	}
	t.Logf("%d keys, in %d forms, were looked for in %d octets of %d files and %d octets of log", len(keys), len(any), octets, files, len(log))
}

// certificateKey is where certmagic stores what belongs to certificates.
const certificateKey = "certificates/"

// finds shows that the forms find the key if it is there.
func finds(t *testing.T, key string, forms [][]byte) {
	t.Helper()
	block, _ := pem.Decode([]byte(key))
	for what, text := range map[string]string{
		"PEM":                   "x" + key,
		"PEM in JSON":           strings.ReplaceAll(key, "\n", `\n`),
		"DER":                   "x" + string(block.Bytes) + "x",
		"DER in base64, at one": base64.StdEncoding.EncodeToString([]byte("x" + string(block.Bytes))),
		"DER in base64, at two": base64.URLEncoding.EncodeToString([]byte("xx" + string(block.Bytes) + "x")),
		"PEM in base64":         base64.StdEncoding.EncodeToString([]byte(key)),
	} {
		found := discloses([]byte(text), forms)
		if what == "PEM in base64" { // is found by its head
			found = discloses([]byte(text), aligned([]byte("PRIVATE KEY-----")))
		}
		if !found {
			t.Errorf("a key as %s would not be found", what)
		}
	}
}
