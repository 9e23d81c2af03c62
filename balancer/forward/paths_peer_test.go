package forward_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// A wire is a peer at the level of records: it seals what it likes, and sees
// what comes as it is. Read and Write make it a connection for data.
type wire struct {
	handshake.Raw
	t      *testing.T
	r      record.Reader
	w      record.Writer
	buf    []byte // ciphertext that was read
	data   []byte // plaintext that was opened
	closed bool   // close_notify has come
	last   []byte // what Write has sent last
	later  []byte // what is still to be sent of a record
}

func newWire(t *testing.T, s handshake.State) *wire {
	return &wire{Raw: s.Raw, t: t, r: s.Reader, w: s.Writer, buf: s.Sealed, data: s.Plain, closed: s.Closed}
}

// seal makes a record of any type. Errors are the test's own.
func (w *wire) seal(typ byte, body []byte) []byte {
	a, err := w.w.AEAD()
	if err != nil {
		panic(err)
	}
	rec, err := record.Seal(nil, &w.w.Keys, a, typ, body)
	if err != nil {
		panic(err)
	}
	return rec
}

// sealAll makes records of data.
func (w *wire) sealAll(data []byte) []byte {
	a, err := w.w.AEAD()
	if err != nil {
		panic(err)
	}
	recs, err := w.w.Append(nil, a, data)
	if err != nil {
		panic(err)
	}
	return recs
}

// update makes a KeyUpdate and goes over to the next keys.
func (w *wire) update(request bool) []byte {
	m := record.KeyUpdateMessage(request)
	rec := w.seal(record.TypeHandshake, m[:])
	if err := w.w.Rekey(); err != nil {
		panic(err)
	}
	return rec
}

func (w *wire) alert(level byte, a record.Alert) []byte {
	return w.seal(record.TypeAlert, []byte{level, byte(a)})
}

// send writes records as they are.
func (w *wire) send(records ...[]byte) {
	w.t.Helper()
	for _, rec := range records {
		if _, err := w.Raw.Write(rec); err != nil {
			w.t.Fatalf("send a record: %v", err)
		}
	}
}

// cut sends the first n octets and returns the others.
func (w *wire) cut(rec []byte, n int) []byte {
	w.t.Helper()
	w.send(rec[:n])
	return rec[n:]
}

// Write implements io.Writer.
func (w *wire) Write(p []byte) (int, error) {
	w.last = w.sealAll(p)
	if _, err := w.Raw.Write(w.last); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Read implements io.Reader. The end of the stream is io.EOF after close_notify
// only; a KeyUpdate is followed, and what it wants is noted.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.data) == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.data)
	w.data = w.data[n:]
	return n, nil
}

// next opens a record, or reads more.
func (w *wire) next() error {
	if w.closed {
		return io.EOF
	}
	a, err := w.r.AEAD()
	if err != nil {
		return err
	}
	n, ev, err := w.r.Next(a, w.buf)
	if err != nil {
		return err
	}
	switch ev.Kind {
	case record.Data:
		w.data = append([]byte(nil), ev.Data...)
	case record.Closed:
		w.closed = true
	case record.Updated:
		if ev.Answer {
			w.w.Owe()
		}
	case record.None, record.Ticket:
	}
	w.buf = w.buf[n:]
	if n > 0 {
		return nil
	}
	chunk := make([]byte, 1<<16)
	n, err = w.Raw.Read(chunk)
	w.buf = append(w.buf, chunk[:n]...)
	if errors.Is(err, io.EOF) && n == 0 {
		return io.ErrUnexpectedEOF // FIN without close_notify
	}
	if n > 0 {
		return nil
	}
	return err
}

// CloseWrite says close_notify and FIN.
func (w *wire) CloseWrite() error {
	if _, err := w.Raw.Write(w.alert(1, record.CloseNotify)); err != nil {
		return err
	}
	return w.Raw.CloseWrite()
}

// refused reads up to the end, which must come by a fatal alert or by a reset.
// The alert must be one of those, if there are any.
func (w *wire) refused(alerts ...record.Alert) error {
	got, err := io.ReadAll(w)
	var alert *record.AlertError
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return nil
	case errors.As(err, &alert) && alert.Class == record.Peer && (len(alerts) == 0 || slices.Contains(alerts, alert.Alert)):
		return nil
	}
	return fmt.Errorf("the peer got %d octets and %w, want a reset or one of %v", len(got), err, alerts)
}

// ended reads up to the end, which must come by close_notify and FIN.
func (w *wire) ended() (string, error) {
	got, err := io.ReadAll(w)
	if err != nil {
		return string(got), fmt.Errorf("instead of close_notify: %w", err)
	}
	if n, err := w.Raw.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return string(got), fmt.Errorf("instead of FIN behind close_notify: %d, %w", n, err)
	}
	return string(got), nil
}
