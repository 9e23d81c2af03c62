package forward_test

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"

	"usher.example/balancer/forward"
	"usher.example/balancer/record"
)

var versions = []uint16{record.TLS13, record.TLS12}

// eachSide runs f over paths, versions, layouts and sides, with a session whose
// peers are wires and have talked.
func eachSide(t *testing.T, f func(t *testing.T, s *session, w *wire, side int)) {
	each(t, func(t *testing.T, p *path) {
		for _, version := range versions {
			t.Run(tls.VersionName(version), func(t *testing.T) {
				sides(t, func(t *testing.T, l layout, side int) {
					s := newStage(t, p, scene{version: version}).open(t, setup{layout: l, records: true})
					peer, other := s.ends(side)
					peer.say(t, "before", other)
					other.say(t, "answer", peer)
					f(t, s, peer.wire(), side)
				})
			})
		}
	})
}

// Warnings are ignored: in TLS 1.3 the only one that there is, user_canceled.
func TestPathWarning(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		peer, other := s.ends(side)
		for range 3 {
			w.send(w.alert(1, record.UserCanceled))
			peer.say(t, "after", other)
			other.say(t, "answer", peer)
		}
		s.finish()
	})
}

func TestPathFatalAlert(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		const handshakeFailure record.Alert = 40
		w.send(append(w.alert(2, handshakeFailure), w.sealAll([]byte("behind"))...))
		s.lost(side)
		if err := w.refused(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // an alert is not answered
			t.Error(err)
		}
	})
}

// A client that says close_notify, without FIN, still gets its answers; what it
// says behind that is nothing (RFC 8446 §6.1).
func TestPathCloseNotifyOfClient(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		if side != 0 {
			s.finish()
			return
		}
		w.send(append(w.sealAll([]byte("a LOGOUT")), w.alert(1, record.CloseNotify)...))
		if b, err := io.ReadAll(s.server); err != nil || string(b) != "a LOGOUT" {
			t.Errorf("the back end got %q, %v", b, err)
		}
		answer := pattern(100_000, 1)
		var answering sync.WaitGroup
		answering.Go(func() {
			_, err := s.server.Write(answer)
			if err = errors.Join(err, s.server.shut()); err != nil {
				t.Error(err)
			}
		})
		got, err := w.ended()
		answering.Wait()
		if err != nil || got != string(answer) {
			t.Errorf("the client got %d of %d octets, %v", len(got), len(answer), err)
		}
		_ = w.Raw.Close()
		if res := s.end(); res.End != forward.ClientClosed || res.Err != nil {
			t.Errorf("account %+v", res)
		}
	})
}

// A back end that says close_notify ends the session, and its client gets all
// of what came before, close_notify and FIN.
func TestPathCloseNotifyOfBackEnd(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		if side != 1 {
			s.finish()
			return
		}
		answer := pattern(100_000, 1)
		go func() { _, _ = w.Raw.Write(append(w.sealAll(answer), w.alert(1, record.CloseNotify)...)) }()
		got, err := s.client.ended()
		if err != nil || got != string(answer) {
			t.Errorf("the client got %d of %d octets, %v", len(got), len(answer), err)
		}
		s.client.closeWrite(t)
		answered(t, s, w, side)
		if res := s.end(); res.End != forward.ServerClosed || res.Err != nil {
			t.Errorf("account %+v", res)
		}
	})
}

// Our own close is in order: what is under TLS gets close_notify before FIN,
// whichever side begins.
func TestPathOurClose(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		_, other := s.ends(side)
		_, err := io.WriteString(other, "last words")
		other.closeWrite(t)
		if got, eerr := w.ended(); err != nil || eerr != nil || got != "last words" {
			t.Errorf("got %q, %v, %v", got, err, eerr)
		}
		_ = w.Raw.Close()
		want := []forward.End{forward.ServerClosed, forward.ClientClosed}[side]
		if res := s.end(); res.End != want || res.Err != nil {
			t.Errorf("account %+v, want %v", res, want)
		}
	})
}

// answered wants close_notify and FIN for a peer that has closed. Only a back
// end over crypto/tls gets no more than FIN: it has nothing more to hear.
func answered(t *testing.T, s *session, w *wire, side int) {
	t.Helper()
	if _, err := w.ended(); err != nil && !(s.path == "copy" && side == 1 && errors.Is(err, io.ErrUnexpectedEOF)) {
		t.Error(err)
	}
}

// FIN without close_notify is passed on as an end, in order: mail has its own
// framing.
func TestPathBareFIN(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		_, other := s.ends(side)
		w.send(w.sealAll([]byte("last words")))
		if err := w.Raw.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(other); err != nil || string(got) != "last words" {
			t.Errorf("got %q, %v", got, err)
		}
		other.closeWrite(t)
		answered(t, s, w, side)
		want := []forward.End{forward.ClientClosed, forward.ServerClosed}[side]
		if res := s.end(); res.End != want || res.Err != nil {
			t.Errorf("account %+v, want %v", res, want)
		}
	})
}

// A client whose session is killed is told close_notify where a record layer of ours
// or the kernel's is there to say it; crypto/tls could have to wait for that. The
// back end is reset: what was unsent must not reach it later.
func TestPathKill(t *testing.T) {
	eachSide(t, func(t *testing.T, s *session, w *wire, side int) {
		s.flow.Kill()
		_, err := w.ended()
		if side == 1 {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the back end of a killed session: %v", err)
			}
		} else if s.path == "copy" {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after Kill: %v", err)
			}
		} else if err != nil {
			t.Error(err)
		}
		if res := s.end(); res.End != forward.Killed || res.Err != nil {
			t.Errorf("account %+v", res)
		}
	})
}
