package handshake

import (
	"crypto/tls"
	"errors"
	"os"

	"usher.example/balancer/record"
)

// A feed shows crypto/tls the tickets that a server of TLS 1.3 sends ahead of its
// data, so that they reach the session cache: only crypto/tls has the secret that
// makes a session of a ticket. It gets copies of the same records that the Conn
// opens, and nothing else any more: it can neither read nor write the connection.
//
// The first record of another kind ends it. Tickets that come later are dropped;
// no server is known that waits.
type feed struct {
	tls    *tls.Conn
	wire   *wire
	record []byte
}

func newFeed(t *tls.Conn, w *wire) *feed {
	*w = wire{Conn: w.Conn, mode: feeding, room: w.room}
	w.secrets.wipe()
	return &feed{tls: t, wire: w}
}

// hold copies a record before it is opened in place.
func (f *feed) hold(rec []byte) { f.record = append(f.record[:0], rec...) }

// show hands the record over if it may be a ticket or a part of one, and says
// whether to go on.
func (f *feed) show(kind record.Kind) bool {
	if kind != record.Ticket && kind != record.None {
		return false
	}
	f.wire.fed = f.record
	var none [1]byte
	n, err := f.tls.Read(none[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}
