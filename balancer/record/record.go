// Package record is the TLS record layer on byte slices: it seals, opens and
// rekeys records of TLS 1.3 (RFC 8446 §5) and of TLS 1.2 with ECDHE and an AEAD
// (RFC 5246 §6.2, RFC 5288, RFC 7905), for sessions whose handshake crypto/tls
// has done.
//
// [Keys] are one direction's keys. A [Writer] seals with them, a [Reader] opens
// with them and says what each record means. All three are plain values of fixed
// size without a pointer, made to lie in a slab; the cipher.AEAD that goes with
// them is built by [Keys.AEAD] when needed and kept, or not, by the caller.
//
// What this package does not do: handshakes, I/O, goroutines, clocks. Nothing
// here is safe for concurrent use: a session belongs to one goroutine.
//
// Laws: a nonce is built in one place and never used twice; a sequence number
// never wraps; records come out in order and whole or not at all; all failures
// to decrypt look alike; after the first failure a Reader is dead and its keys
// are gone; no byte of a record that failed is handed out; what a peer can make
// us do without sending data is bounded; sealing and opening data allocates
// nothing; keys cannot be printed.
//
// Values with keys must not be copied while both copies live: two copies that
// seal use the same nonces twice, which breaks AES-GCM and ChaCha20-Poly1305
// alike. Moving one (as a hand-over does) is fine if the old one is wiped.
package record

// Versions of the protocol, as on the wire.
const (
	TLS12 uint16 = 0x0303 // RFC 5246
	TLS13 uint16 = 0x0304 // RFC 8446
)

// Content types of records (RFC 8446 §B.1).
const (
	TypeChangeCipherSpec byte = 20
	TypeAlert            byte = 21
	TypeHandshake        byte = 22
	TypeData             byte = 23 // application data
)

// Sizes in bytes.
const (
	// HeaderLen is the size of a record's header: type, version, length.
	HeaderLen = 5
	// MaxPlaintext is the most that one record carries (RFC 8446 §5.1).
	MaxPlaintext = 1 << 14
	// MaxOverhead is the most that sealing adds: header, explicit nonce and
	// tag of AES-GCM in TLS 1.2. See [Keys.Head] and [Keys.Tail].
	MaxOverhead = HeaderLen + explicitNonceLen + tagLen
	// MaxRecord is the size of the largest record that is sealed or accepted.
	//
	// The RFCs let a record grow to 2^14+256 (TLS 1.3) or 2^14+2048 bytes (TLS
	// 1.2) behind the header, for ciphers that expand more. Ours add 17 or at
	// most 24; a longer record cannot hold a legal plaintext, and is refused
	// with the same record_overflow before it is read (RFC 8446 §5.2, §5.4).
	MaxRecord = MaxPlaintext + MaxOverhead

	tagLen           = 16 // of every AEAD here
	nonceLen         = 12 // likewise
	explicitNonceLen = 8  // RFC 5288 §3
	saltLen          = nonceLen - explicitNonceLen
)

// A Role is the part that we play in a session: it decides which messages the
// peer may send.
type Role uint8

// Roles.
const (
	Server Role = iota // the peer is a client
	Client             // the peer is a server
)
