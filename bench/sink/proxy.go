package sink

import "bytes"

// The beginnings of a PROXY header (HAProxy's proxy-protocol.txt §2.1, §2.2).
// Version 2's is 16 octets, the last two of which are the length of the rest.
var (
	proxyV1 = []byte("PROXY ")
	proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

const proxyV2Head = 16

// proxyHeader returns how many octets of in are a PROXY header, 0 if there is
// none; not ok means that more octets are needed to tell. Addresses are not
// looked at: nothing here depends on them.
func proxyHeader(in []byte) (n int, ok bool) {
	switch {
	case len(in) == 0:
		return 0, false
	case begins(in, proxyV2):
		if len(in) < proxyV2Head {
			return 0, false
		}
		n = proxyV2Head + int(in[14])<<8 + int(in[15])
		return n, len(in) >= n
	case begins(in, proxyV1):
		n = bytes.IndexByte(in, '\n') + 1
		return n, n > 0
	}
	return 0, true
}

// begins reports whether in begins with what, as far as either goes.
func begins(in, what []byte) bool {
	n := min(len(in), len(what))
	return bytes.Equal(in[:n], what[:n])
}
