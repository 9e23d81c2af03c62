package record

import (
	"crypto/hkdf"
	"crypto/hmac"
	"errors"
	"fmt"
	"hash"
)

var (
	// ErrSecret says that a secret has not the size that its suite wants.
	ErrSecret = errors.New("record: secret has the wrong size")
	// ErrNoUpdate says that keys cannot be updated: TLS 1.2 has no way to.
	ErrNoUpdate = errors.New("record: keys of TLS 1.2 cannot be updated")
)

// Sizes of what TLS 1.2 derives keys from (RFC 5246 §8.1, §7.4.1.2).
const (
	masterLen = 48
	randomLen = 32
)

// DeriveTLS13 makes the keys of one direction from its traffic secret, such as
// client_application_traffic_secret_0 (RFC 8446 §7.3). The sequence number is 0.
// The secret is copied; wiping the original is the caller's.
func DeriveTLS13(suite Suite, trafficSecret []byte) (Keys, error) {
	t := suite.traits()
	if t.version != TLS13 {
		return Keys{}, ErrSuite
	}
	if len(trafficSecret) != int(t.hashLen) {
		return Keys{}, ErrSecret
	}
	k := Keys{suite: suite}
	copy(k.secret[:], trafficSecret)
	if err := k.expand(t); err != nil {
		k.Wipe()
		return Keys{}, err
	}
	return k, nil
}

// expand sets key and IV from the secret, and the sequence number to 0.
func (k *Keys) expand(t traits) error {
	secret := k.secret[:t.hashLen]
	if err := expandLabel(t, secret, "key", k.key[:t.keyLen]); err != nil {
		return err
	}
	if err := expandLabel(t, secret, "iv", k.iv[:]); err != nil {
		return err
	}
	k.SetSeq(0)
	return nil
}

// Update moves on to the next traffic secret (RFC 8446 §7.2): new key, new IV,
// sequence number 0. Every AEAD built before is spent.
func (k *Keys) Update() error {
	t := k.suite.traits()
	switch t.version {
	case TLS13:
	case TLS12:
		return ErrNoUpdate
	default:
		return ErrNoKeys
	}
	next := *k
	defer next.Wipe()
	next.updates++
	if err := expandLabel(t, k.secret[:t.hashLen], "traffic upd", next.secret[:t.hashLen]); err != nil {
		return err
	}
	if err := next.expand(t); err != nil {
		return err
	}
	*k = next
	return nil
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 §7.1): it
// fills out.
func expandLabel(t traits, secret []byte, label string, out []byte) error {
	full := "tls13 " + label
	info := string([]byte{byte(len(out) >> 8), byte(len(out)), byte(len(full))}) + full + "\x00"
	b, err := hkdf.Expand(t.hash(), secret, info, len(out))
	if err != nil {
		return fmt.Errorf("record: derive %q: %w", label, err)
	}
	copy(out, b)
	clear(b)
	return nil
}

// DeriveTLS12 makes the keys of both directions from the master secret and the
// two randoms of the handshake (RFC 5246 §6.3). The sequence numbers are 1: the
// record 0 of either side was its Finished message.
// The master secret is not kept; wiping it is the caller's.
func DeriveTLS12(suite Suite, master, clientRandom, serverRandom []byte) (client, server Keys, err error) {
	t := suite.traits()
	if t.version != TLS12 {
		return Keys{}, Keys{}, ErrSuite
	}
	if len(master) != masterLen || len(clientRandom) != randomLen || len(serverRandom) != randomLen {
		return Keys{}, Keys{}, ErrSecret
	}
	ivLen := nonceLen
	if t.explicit() {
		ivLen = saltLen
	}
	keyLen := int(t.keyLen)
	block := make([]byte, 2*(keyLen+ivLen))
	defer clear(block)
	seed := append(append([]byte("key expansion"), serverRandom...), clientRandom...)
	prf(t.hash(), master, seed, block)

	client, server = Keys{suite: suite}, Keys{suite: suite}
	rest := block
	for _, part := range [][]byte{
		client.key[:keyLen], server.key[:keyLen], client.iv[:ivLen], server.iv[:ivLen],
	} {
		rest = rest[copy(part, rest):]
	}
	client.SetSeq(1)
	server.SetSeq(1)
	return client, server, nil
}

// prf is P_hash of RFC 5246 §5, with the label already a part of the seed: it
// fills out.
func prf(h func() hash.Hash, secret, seed, out []byte) {
	mac := hmac.New(h, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	for a := sum(seed); len(out) > 0; a = sum(a) {
		b := sum(a, seed)
		out = out[copy(out, b):]
		clear(b)
	}
}
