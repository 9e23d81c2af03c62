package handshake

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"

	"usher.example/balancer/record"
)

// Handshake messages (RFC 8446 §4, RFC 5246 §7.4).
const (
	msgClientHello byte = 1
	msgServerHello byte = 2
	msgFinished    byte = 20

	// finishedLen is the size of a Finished of TLS 1.2 with its header (RFC
	// 5246 §7.4.9).
	finishedLen = 4 + 12
)

// takeKeys sets the Conn's keys from what w has seen, if they can be proved.
func (c *Conn) takeKeys(w *wire) Reason {
	state := c.ConnectionState()
	version, suite := state.Version, state.CipherSuite
	r := covered(version, suite)
	switch {
	case r != Covered:
		return r
	case w.secrets.odd:
		return Secrets
	case version == record.TLS13:
		r = c.takeTLS13(w, record.Suite(suite))
	default:
		r = c.takeTLS12(w, record.Suite(suite))
	}
	if r != Covered {
		c.wipe()
	}
	return r
}

// takeTLS13 derives the keys and has them account for our part of the handshake.
// That proves the writing keys and tells their sequence number: a server has sent
// tickets under them, a client nothing.
//
// The reading keys have not been used yet, for crypto/tls ends the handshake with
// the peer's Finished, takes nothing behind it in the same record (RFC 8446 §5.1)
// and got no byte of the next. They are proved by the first record that comes.
func (c *Conn) takeTLS13(w *wire, suite record.Suite) Reason {
	before, after, theirs := serverHandshake, serverTraffic, clientTraffic
	if c.role == record.Client {
		before, after, theirs = clientHandshake, clientTraffic, serverTraffic
	}
	handshake, err := record.DeriveTLS13(suite, w.secrets.of(before))
	if err != nil {
		return Secrets
	}
	defer handshake.Wipe()
	write, err := record.DeriveTLS13(suite, w.secrets.of(after))
	if err != nil {
		return Secrets
	}
	defer write.Wipe()
	read, err := record.DeriveTLS13(suite, w.secrets.of(theirs))
	if err != nil {
		return Secrets
	}
	defer read.Wipe()
	c.reader, c.writer = record.NewReader(read, c.role), record.NewWriter(write)
	a, ok := account(w.out.kept, &handshake, &c.writer.Keys)
	if w.out.lost || !ok {
		return SelfCheck
	}
	c.sealer = a
	return Covered
}

// account opens every protected record of our flight, the first ones with the
// keys of the handshake and the last ones with those of the session, and says
// whether that left nothing unexplained. The sequence number of session then
// counts what was sent under it, and what is returned is its cipher, nil if it was not
// needed yet. The flight is spent.
func account(flight []byte, handshake, session *record.Keys) (cipher.AEAD, bool) {
	keys := handshake
	a, err := keys.AEAD()
	if err != nil {
		return nil, false
	}
	var scratch []byte // a record that does not open is lost
	for len(flight) >= record.HeaderLen {
		n := record.HeaderLen + int(binary.BigEndian.Uint16(flight[3:]))
		if n > len(flight) {
			return nil, false
		}
		rec := flight[:n:n]
		flight = flight[n:]
		if rec[0] != record.TypeData {
			continue // from before there were keys, as a second ClientHello
		}
		trying := rec
		if keys == handshake {
			scratch = append(scratch[:0], rec...)
			trying = scratch
		}
		typ, _, err := record.Open(keys, a, trying)
		if err != nil && keys == handshake && keys.Seq() > 0 {
			keys = session
			if a, err = keys.AEAD(); err != nil {
				return nil, false
			}
			typ, _, err = record.Open(keys, a, rec)
		}
		if err != nil || typ != record.TypeHandshake {
			return nil, false
		}
	}
	if keys == handshake {
		a = nil
	}
	return a, len(flight) == 0 && handshake.Seq() > 0
}

// takeTLS12 derives the keys and tries them on the two Finished messages, the
// only records yet. Of a resumed session the master secret is not from the log
// but from the ticket or the cache.
func (c *Conn) takeTLS12(w *wire, suite record.Suite) Reason {
	toServer, toClient := &w.in, &w.out
	if c.role == record.Client {
		toServer, toClient = toClient, toServer
	}
	random := toServer.random(msgClientHello)
	if w.secrets.lines > 0 && !bytes.Equal(random, w.secrets.random[:]) {
		return Secrets
	}
	client, server, err := record.DeriveTLS12(suite, w.secrets.of(master), random, toClient.random(msgServerHello))
	if err != nil {
		return Secrets
	}
	defer client.Wipe()
	defer server.Wipe()
	read, write := client, server
	if c.role == record.Client {
		read, write = server, client
	}
	defer read.Wipe()
	defer write.Wipe()
	c.reader, c.writer = record.NewReader(read, c.role), record.NewWriter(write)
	if !finished(&w.in, &c.reader.Keys) || !finished(&w.out, &c.writer.Keys) {
		return SelfCheck
	}
	return Covered
}

// finished opens the one record of a direction, which must be nothing but a
// Finished. The next one has the sequence number 1.
func finished(t *tape, keys *record.Keys) bool {
	if t.lost || t.left > 0 || t.got > 0 {
		return false
	}
	a, err := keys.AEAD()
	if err != nil {
		return false
	}
	keys.SetSeq(0)
	typ, msg, err := record.Open(keys, a, t.kept)
	return err == nil && typ == record.TypeHandshake && len(msg) == finishedLen && msg[0] == msgFinished
}
