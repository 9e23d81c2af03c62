package record

import "encoding/binary"

// What linux/tls.h calls the ciphers.
const (
	kernelAES128GCM uint16 = 51 // TLS_CIPHER_AES_GCM_128
	kernelAES256GCM uint16 = 52 // TLS_CIPHER_AES_GCM_256
	kernelChaCha20  uint16 = 54 // TLS_CIPHER_CHACHA20_POLY1305
)

// AppendKernel appends the keys as the value of the socket options TLS_TX and
// TLS_RX, a struct tls12_crypto_info_* of linux/tls.h: version and cipher in the
// machine's byte order, then iv, key, salt and rec_seq. It appends nothing if
// there are no keys. The kernel counts on from the present sequence number; from
// then on these keys must not seal. The bytes are secret: clear them after use.
func (k *Keys) AppendKernel(dst []byte) []byte {
	t := k.suite.traits()
	var number uint16
	switch {
	case t.family == noFamily:
		return dst
	case t.family == chaCha:
		number = kernelChaCha20
	case t.keyLen == 16:
		number = kernelAES128GCM
	default:
		number = kernelAES256GCM
	}
	dst = binary.NativeEndian.AppendUint16(dst, t.version)
	dst = binary.NativeEndian.AppendUint16(dst, number)
	seq := k.ad[:8]
	switch {
	case t.family == chaCha: // its salt has no bytes
		dst = append(dst, k.iv[:]...)
		dst = append(dst, k.key[:t.keyLen]...)
	case t.explicit(): // the first explicit nonce is the sequence number, as ours
		dst = append(dst, seq...)
		dst = append(dst, k.key[:t.keyLen]...)
		dst = append(dst, k.iv[:saltLen]...)
	default:
		dst = append(dst, k.iv[saltLen:]...)
		dst = append(dst, k.key[:t.keyLen]...)
		dst = append(dst, k.iv[:saltLen]...)
	}
	return append(dst, seq...)
}
