package record

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
)

// A Suite is a cipher suite by its number on the wire. The ones below are all
// that this package knows; CBC, CCM and RSA key exchange are not among them.
type Suite uint16

// Cipher suites of TLS 1.3 (RFC 8446 §B.4) and TLS 1.2 (RFC 5289, RFC 7905).
const (
	AES128GCM Suite = 0x1301
	AES256GCM Suite = 0x1302
	ChaCha20  Suite = 0x1303

	ECDHEECDSAAES128GCM Suite = 0xc02b
	ECDHEECDSAAES256GCM Suite = 0xc02c
	ECDHERSAAES128GCM   Suite = 0xc02f
	ECDHERSAAES256GCM   Suite = 0xc030
	ECDHERSAChaCha20    Suite = 0xcca8
	ECDHEECDSAChaCha20  Suite = 0xcca9
)

// ErrSuite says that a suite is unknown, or not one of the version's.
var ErrSuite = errors.New("record: version and cipher suite do not go together")

// Suites lists the suites that can be used with a version, none if the version
// itself cannot.
func Suites(version uint16) []Suite {
	switch version {
	case TLS13:
		return []Suite{AES128GCM, AES256GCM, ChaCha20}
	case TLS12:
		return []Suite{
			ECDHEECDSAAES128GCM, ECDHEECDSAAES256GCM, ECDHEECDSAChaCha20,
			ECDHERSAAES128GCM, ECDHERSAAES256GCM, ECDHERSAChaCha20,
		}
	default:
		return nil
	}
}

// A family is an AEAD algorithm.
type family uint8

const (
	noFamily family = iota
	aesGCM
	chaCha
)

// A traits value is what there is to know of a suite.
type traits struct {
	version uint16
	family  family
	keyLen  uint8
	// hashLen is the size of the hash of HKDF and the PRF, and so that of a
	// traffic secret: SHA-256 or SHA-384.
	hashLen uint8
}

// traits looks s up; the zero value means that s is unknown.
func (s Suite) traits() traits {
	switch s {
	case AES128GCM:
		return traits{TLS13, aesGCM, 16, sha256.Size}
	case AES256GCM:
		return traits{TLS13, aesGCM, 32, sha512.Size384}
	case ChaCha20:
		return traits{TLS13, chaCha, 32, sha256.Size}
	case ECDHEECDSAAES128GCM, ECDHERSAAES128GCM:
		return traits{TLS12, aesGCM, 16, sha256.Size}
	case ECDHEECDSAAES256GCM, ECDHERSAAES256GCM:
		return traits{TLS12, aesGCM, 32, sha512.Size384}
	case ECDHEECDSAChaCha20, ECDHERSAChaCha20:
		return traits{TLS12, chaCha, 32, sha256.Size}
	default:
		return traits{}
	}
}

// hash returns the constructor of the suite's hash.
func (t traits) hash() func() hash.Hash {
	if t.hashLen == sha512.Size384 {
		return sha512.New384
	}
	return sha256.New
}

// UpdateAfter is the number of records after which a direction that uses
// AES-GCM should get new keys. It stays below the 2^24.5 full-size records that
// RFC 8446 §5.5 allows, so that a turn already under way cannot pass it.
const UpdateAfter uint64 = 1 << 24

// maxGCM is 2^24.5: more records than that are not sealed with one AES-GCM key
// (RFC 8446 §5.5; RFC 9325 §4.4 says the same of TLS 1.2, which can only close).
const maxGCM uint64 = 23_726_566

// maxSeq is the last sequence number there is. It is never used, so that no
// increment can wrap (RFC 8446 §5.3).
const maxSeq = ^uint64(0)

// updateAfter is after which record new keys are due; maxRecords is how many
// can be sealed at all.
func (t traits) updateAfter() uint64 {
	if t.family == aesGCM {
		return UpdateAfter
	}
	return maxSeq
}

func (t traits) maxRecords() uint64 {
	if t.family == aesGCM {
		return maxGCM
	}
	return maxSeq
}
