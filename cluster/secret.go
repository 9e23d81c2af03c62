package cluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"time"
)

// SecretLen is the size of a fleet secret in octets.
const SecretLen = 32

// MaxSecrets bounds the versions in a secret file: one in use, one coming, one going.
const MaxSecrets = 3

// A Secret is one version of what all nodes of a fleet know and nobody else. What
// is needed is derived from it (RFC 5869), so that no key has two uses.
type Secret [SecretLen]byte

// String hides it, as does every other way to print it.
func (Secret) String() string { return "[redacted]" }

// GoString hides it.
func (Secret) GoString() string { return "[redacted]" }

// NewSecret makes one.
func NewSecret() Secret {
	var s Secret
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// Text is a secret's line in its file.
func (s Secret) Text() string { return base64.StdEncoding.EncodeToString(s[:]) }

// ReadSecrets reads a secret file: a version a line, the one to use first. It must
// not be readable by everybody.
func ReadSecrets(path string) ([]Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("fleet secret: %w; usher fleet secret makes one", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("fleet secret: %s can be read by everybody (mode %04o); chmod 0600 %s", path, mode, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("fleet secret: %w", err)
	}
	defer clear(text)
	list, err := secretLines(string(text))
	if err != nil {
		return nil, fmt.Errorf("fleet secret: %s: a line is not %d octets in base64; usher fleet secret makes one", path, SecretLen)
	}
	if len(list) == 0 || len(list) > MaxSecrets {
		return nil, fmt.Errorf("fleet secret: %s has %d versions, it should have 1 to %d", path, len(list), MaxSecrets)
	}
	return list, nil
}

var errSecretLine = errors.New("a line is no secret")

// secretLines reads secrets, one a line; what begins with # is for people.
func secretLines(text string) ([]Secret, error) {
	var list []Secret
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		b, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(b) != SecretLen {
			return nil, errSecretLine
		}
		list = append(list, Secret(b))
	}
	return list, nil
}

// derive makes a key of a secret for one use.
func (s Secret) derive(use string, n int) []byte {
	key, err := hkdf.Key(sha256.New, s[:], nil, "usher fleet 1 "+use, n)
	if err != nil {
		panic("cluster: derive a key: " + err.Error()) // the sizes are constants
	}
	return key
}

// seal encrypts what must be in no log, snapshot or wire in clear (AES-256-GCM). About
// says what it is and where it lies: it opens nowhere else.
func seal(secrets []Secret, about string, plain []byte) []byte {
	a := secrets[0].cipher()
	nonce := make([]byte, a.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return a.Seal(nonce, nonce, plain, []byte(about))
}

// open decrypts what any version of the secret has sealed. Fresh says that it was
// the one in use.
func open(secrets []Secret, about string, sealed []byte) (plain []byte, fresh bool, err error) {
	for i, s := range secrets {
		a := s.cipher()
		if len(sealed) < a.NonceSize() {
			break
		}
		if plain, err := a.Open(nil, sealed[:a.NonceSize()], sealed[a.NonceSize():], []byte(about)); err == nil {
			return plain, i == 0, nil
		}
	}
	return nil, false, fmt.Errorf("%s was sealed with a fleet secret that this node does not have", about)
}

func (s Secret) cipher() cipher.AEAD {
	block, err := aes.NewCipher(s.derive("seal", 32))
	if err != nil {
		panic("cluster: " + err.Error()) // the size is right
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic("cluster: " + err.Error())
	}
	return a
}

// An identity is this node's certificate and those that it believes. Whoever knows
// the secret can make any node's: a node is believed to be of the fleet, and its
// name is a label.
type identity struct {
	cert  tls.Certificate
	roots *x509.CertPool
	ids   map[string]bool // of the roots
}

// What certificates of a fleet are valid from and until. The fleet's own clock may
// be wrong, the secret is what counts: whoever has it could make any.
var (
	validFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func newIdentity(node string, secrets []Secret) (*identity, error) {
	id := &identity{roots: x509.NewCertPool(), ids: make(map[string]bool)}
	for i, s := range secrets {
		caKey := ed25519.NewKeyFromSeed(s.derive("ca", ed25519.SeedSize))
		ca := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "usher fleet"}, NotBefore: validFrom, NotAfter: validUntil,
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			SubjectKeyId: s.derive("ca id", 20),
		}
		der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
		if err != nil {
			return nil, err
		}
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		id.roots.AddCert(root)
		id.ids[string(root.SubjectKeyId)] = true
		if i > 0 {
			continue
		}
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: node}, DNSNames: []string{fleetName},
			NotBefore: validFrom, NotAfter: validUntil,
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if der, err = x509.CreateCertificate(rand.Reader, leaf, root, pub, caKey); err != nil {
			return nil, err
		}
		id.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	return id, nil
}

// fleetName is the name that every certificate of a fleet has: what is verified is
// that a peer knows the secret.
const fleetName = "node.usher-fleet"

// config is for either side of a connection; one protocol at a time.
func (id *identity) config(protocols ...string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{id.cert}, RootCAs: id.roots, ClientCAs: id.roots, ServerName: fleetName,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13, NextProtos: protocols,
		SessionTicketsDisabled: true,
	}
}

// errNoSecret means that a fleet of several was asked for without a secret.
var errNoSecret = errors.New("a fleet needs a secret: set fleet.secret_file; usher fleet secret makes one")
