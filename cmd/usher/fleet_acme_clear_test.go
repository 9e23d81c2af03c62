package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

const (
	// rawWindow octets of a key, and textWindow characters of its base64, in a row are
	// found by nobody by chance. They are less than a key, since packets, records of a
	// log and lines of PEM may end in its middle.
	rawWindow, textWindow = 16, 12

	// hashed octets are what is looked up of each window.
	hashed = 8
)

// sought are the octets that nobody may see, by their first ones.
type sought struct {
	maybe [1 << 16]bool // by the first two
	by    map[uint64][]secretPart
}

// A secretPart is a piece of what is sought.
type secretPart struct {
	what   string
	octets []byte
}

func (s *sought) add(what string, octets []byte) {
	if s.by == nil {
		s.by = make(map[uint64][]secretPart)
	}
	s.maybe[binary.BigEndian.Uint16(octets)] = true
	first := binary.BigEndian.Uint64(octets)
	s.by[first] = append(s.by[first], secretPart{what, octets})
}

// shifted is the base64 of some octets wherever they are in what is encoded.
func shifted(octets []byte) (list []string) {
	for i := range 3 {
		list = append(list, base64.RawStdEncoding.EncodeToString(octets[i:i+(len(octets)-i)/3*3]))
	}
	return list
}

// key adds a private key: its secret number, in octets and base64; and its files in PEM
// in base64 once more, which is what JSON makes of them.
func (s *sought) key(t testing.TB, what string, key *ecdsa.PrivateKey) {
	t.Helper()
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+rawWindow <= len(scalar); at += rawWindow / 2 {
		s.add(what, scalar[at:at+rawWindow])
	}
	for _, text := range shifted(scalar) {
		for at := 0; at+textWindow <= len(text); at += 3 { // a line may end anywhere
			s.add(what, []byte(text[at:at+textWindow]))
		}
	}
	for _, f := range keyForms(t, key) {
		for _, text := range shifted(f.secret(scalar)) {
			for at := 0; at+rawWindow <= len(text); at += 4 {
				s.add(what+" in base64 of PEM", []byte(text[at:at+rawWindow]))
			}
		}
	}
}

// A keyForm is one in which keys are kept.
type keyForm struct{ der, file []byte }

// secret is the part of the file that says nothing but the secret number: the rest is
// the same in all keys, or public.
func (f keyForm) secret(scalar []byte) []byte {
	const line = 64 // characters
	begin, at := bytes.IndexByte(f.file, '\n')+1, bytes.Index(f.der, scalar)
	where := func(char int) int { return begin + char + char/line }
	return f.file[where((at+2)/3*4):where((at+len(scalar))/3*4)]
}

// keyForms are PKCS #8 (RFC 5958) and what is inside of it (RFC 5915).
func keyForms(t testing.TB, key *ecdsa.PrivateKey) []keyForm {
	t.Helper()
	outer, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return []keyForm{
		{outer, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: outer})},
		{inner, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: inner})},
	}
}

// anyKey adds what every private key in PEM, and every one on P-256 in DER, has: such as
// that of the account, which no command gives away.
func (s *sought) anyKey() {
	const mark = "PRIVATE KEY-----"
	s.add("a key in PEM", []byte(mark))
	for _, text := range shifted([]byte(mark)) {
		s.add("a key in base64 of PEM", []byte(text))
	}
	s.add("a key in RFC 5915", []byte("\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\xa1\x44\x03\x42\x00"))
	s.add("a key in PKCS #8", []byte("\x04\x6d\x30\x6b\x02\x01\x01\x04\x20"))
}

// in counts what is found in some octets, by what it is.
func (s *sought) in(text []byte) map[string]int {
	found := make(map[string]int)
	for i := 0; i+hashed <= len(text); i++ {
		if !s.maybe[binary.BigEndian.Uint16(text[i:])] {
			continue
		}
		for _, p := range s.by[binary.BigEndian.Uint64(text[i:])] {
			if bytes.HasPrefix(text[i:], p.octets) {
				found[p.what]++
			}
		}
	}
	return found
}

// exported is the key of a certificate that a node serves.
func (e *edge) exported(name string) *ecdsa.PrivateKey {
	e.t.Helper()
	for rest := []byte(e.does("cert", "export", name, "--out", "-", "--key")); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			e.t.Fatalf("%s exports no key of %s", e.name, name)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if k, ok := key.(*ecdsa.PrivateKey); ok && err == nil {
			return k
		}
	}
}

// A decoy is a key of nobody's that is written and sent in clear: who does not find it
// would find no other.
type decoy struct {
	sought
	forms [][]byte
}

func newDecoy(t testing.TB) *decoy {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := new(decoy)
	d.key(t, "the decoy", key)
	for _, f := range keyForms(t, key) {
		d.forms = append(d.forms, f.der, f.file)
		for shift := range 3 {
			for _, whole := range [][]byte{f.der, f.file} {
				text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), whole...))
				d.forms = append(d.forms, []byte(text))
			}
		}
	}
	for i, form := range d.forms {
		if len(d.in(form)) == 0 {
			t.Fatalf("form %d of a key is not found: the test is blind", i)
		}
	}
	return d
}

// onDisk looks into all files below a folder, one of which has something that is there
// in clear. It returns what it found, by path.
func (s *sought) onDisk(t testing.TB, dir, there string) (found map[string]map[string]int, octets int) {
	t.Helper()
	seen := false
	found = make(map[string]map[string]int)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		text = bytes.TrimRight(text, "\x00") // a log has its whole length from the start
		octets += len(text)
		seen = seen || bytes.Contains(text, []byte(there))
		if what := s.in(text); len(what) > 0 {
			found[path] = what
		}
		return err
	})
	if err != nil || !seen {
		t.Errorf("%s has not even %q: the test is blind: %v", dir, there, err)
	}
	return found, octets
}
