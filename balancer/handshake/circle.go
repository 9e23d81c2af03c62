package handshake

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"slices"
)

// A ticket stands for a whole handshake: who shows it is whom he was, by a certificate
// that nobody looks at again. All listeners of all nodes of a fleet share the keys, so
// that a ticket opens at each of them, and what was settled at one would hold at
// another that asks for more, or for something else. crypto/tls (1.26) looks whether a
// client's certificate is still from an authority of the listener that verifies such,
// but a listener that asks for certificates and does not verify them gets the chains
// of one that does; a session without a certificate resumes where one would be asked
// for, so that the client cannot show his; and names are not compared, as RFC 6066 §3
// demands of TLS 1.2. So a ticket is good in a circle only: listeners of the same
// protocols that want the same of clients, under the name that it was given out for.

// circleMark marks the circle in a tls.SessionState's Extra.
var circleMark = []byte("usher/circle/1 ")

// circleLen is the length of a circle's digest in octets. Nobody can choose what goes
// into it but operators, and each ticket carries it.
const circleLen = 16

// A circleID names a circle.
type circleID [circleLen]byte

// circle is where a ticket is good. It is the same on all nodes that are configured
// alike. Of authorities it has the names: their keys are crypto/tls's to compare,
// where chains are verified at all.
func circle(name string, protocols []string, auth tls.ClientAuthType, authorities *x509.CertPool) circleID {
	var b []byte
	part := func(s []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	part([]byte(name))
	b = binary.BigEndian.AppendUint32(b, uint32(len(protocols)))
	for _, p := range protocols {
		part([]byte(p))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(auth))
	if auth != tls.NoClientCert && authorities != nil {
		names := authorities.Subjects() //nolint:staticcheck // without those of the system, which are no listener's
		slices.SortFunc(names, slices.Compare)
		for _, n := range names {
			part(n)
		}
	}
	sum := sha256.Sum256(b)
	return circleID(sum[:circleLen])
}

// bind notes in a session where it may be resumed.
func bind(state *tls.SessionState, id circleID) {
	state.Extra = append(state.Extra, append(slices.Clone(circleMark), id[:]...))
}

// bound says whether it may be resumed here.
func bound(state *tls.SessionState, id circleID) bool {
	was, found := extra(state, circleMark)
	return found && slices.Equal(was, id[:])
}
