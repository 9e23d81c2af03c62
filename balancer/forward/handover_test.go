package forward

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	mrand "math/rand/v2"
	"testing"

	"usher.example/balancer/record"
)

// Sessions of every kind go back and forth between two engines, as octets and
// descriptors, while data flows both ways; nothing is lost, doubled or reordered,
// and the account is that of one session.
func TestHandoverWhileDataFlows(t *testing.T) {
	size, moves := 8<<20, 40
	if testKernel() != KernelOff {
		size = 1 << 20 // a guest is slow
	}
	for _, l := range layouts[4:] {
		t.Run(l.name, func(t *testing.T) {
			first, stopFirst := runReactor(t)
			second, stopSecond := runReactor(t)
			s := start(t, first, l.client, l.server, "ahead", "behind")
			path := s.flow.Path()
			up, down := make([]byte, size), make([]byte, size)
			_, _ = rand.Read(up)
			_, _ = rand.Read(down)
			go func() { feed(s.client, up, 1); _ = s.client.(interface{ CloseWrite() error }).CloseWrite() }()
			fed := make(chan struct{})
			go func() { defer close(fed); feed(s.server, down, 2) }()
			got := make(chan []byte, 1)
			go func() { b, _ := io.ReadAll(s.client); got <- b }()
			all := make(chan []byte, 1)
			go func() { b, _ := io.ReadAll(s.server); all <- b }()

			from, to := first, second
			rng := mrand.New(mrand.NewPCG(3, uint64(size)))
			for range moves {
				// Between two moves the session does something.
				in, out := s.flow.Bytes()
				for target := in + out + uint64(rng.IntN(size/moves)); ; {
					i, o := s.flow.Bytes()
					if i+o >= target || i+o >= uint64(2*size) {
						break
					}
				}
				h, err := from.Export(s.flow)
				if err != nil {
					t.Fatal(err)
				}
				state := h.AppendState(nil)
				again, err := ParseHandover(state, h.Client.FD, h.Server.FD)
				if err != nil {
					t.Fatal(err)
				}
				h.Client.wipe()
				h.Server.wipe()
				if _, err := from.Export(s.flow); !errors.Is(err, ErrOver) {
					t.Errorf("a session was exported twice: %v", err)
				}
				s.flow = to.Resume(again, 0, func(r Result) { s.done <- r })
				if s.flow.Path() != path {
					t.Errorf("path %s after the move, %s before", s.flow.Path(), path)
				}
				from, to = to, from
			}

			if b := <-all; !bytes.Equal(b, append([]byte("behind"), up...)) {
				t.Errorf("the back end got %d octets of %d, or others", len(b), len(up)+6)
			}
			<-fed
			_ = s.server.(interface{ CloseWrite() error }).CloseWrite()
			if b := <-got; !bytes.Equal(b, append([]byte("ahead"), down...)) {
				t.Errorf("the client got %d octets of %d, or others", len(b), len(down)+5)
			}
			_ = s.client.Close()
			_ = s.server.Close()
			if res := s.result(t); res.Err != nil || res.In != uint64(size+6) || res.Out != uint64(size+5) || res.End != ClientClosed {
				t.Errorf("account %+v", res)
			}
			stopFirst()
			stopSecond()
			for _, r := range []*Reactor{first, second} {
				atRest(t, r.loops[0], 0)
				if r.loops[0].keys.live != 0 {
					t.Errorf("%d keys are left", r.loops[0].keys.live)
				}
			}
		})
	}
}

// A session whose client has half-closed, and one that is idle, change hands too;
// one that has ended does not, nor one of crypto/tls.
func TestHandoverOfQuietSessions(t *testing.T) {
	for _, l := range layouts[4:] {
		t.Run(l.name, func(t *testing.T) {
			first, _ := runReactor(t)
			second, _ := runReactor(t)
			s := start(t, first, l.client, l.server, "", "")
			for range 3 {
				h, err := first.Export(s.flow)
				if err != nil {
					t.Fatal(err)
				}
				s.flow = second.Resume(h, 0, func(r Result) { s.done <- r })
				first, second = second, first
			}
			_ = s.client.(interface{ CloseWrite() error }).CloseWrite()
			if b, err := io.ReadAll(s.server); err != nil || len(b) > 0 {
				t.Fatalf("the back end got %q, %v", b, err)
			}
			h, err := first.Export(s.flow)
			if err != nil {
				t.Fatal(err)
			}
			s.flow = second.Resume(h, 0, func(r Result) { s.done <- r })
			_, _ = io.WriteString(s.server, "late")
			_ = s.server.Close()
			if b, err := io.ReadAll(s.client); err != nil || string(b) != "late" {
				t.Errorf("the client got %q, %v", b, err)
			}
			_ = s.client.Close()
			if res := s.result(t); res.End != ClientClosed || res.Err != nil {
				t.Errorf("account %+v", res)
			}
			if _, err := second.Export(s.flow); !errors.Is(err, ErrOver) {
				t.Errorf("a session that has ended: %v", err)
			}
		})
	}
	s := start(t, layouts[0].engine(t), false, false, "", "")
	r, _ := runReactor(t)
	if _, err := r.Export(s.flow); !errors.Is(err, ErrBound) {
		t.Errorf("a session of another engine: %v", err)
	}
}

// FuzzHandover: no octets make a Handover that cannot be, and what was taken is
// what comes out again.
func FuzzHandover(f *testing.F) {
	f.Add((&Handover{}).AppendState(nil))
	full := &Handover{In: 1, Out: 2, Quiet: 3, Why: Idle, Noted: true}
	full.Client = Handed{Secured: &Secured{Ciphertext: []byte{record.TypeData, 3}, Closed: true}, Pending: []byte("x"), EOF: true}
	full.Server = Handed{Secured: &Secured{}, Opening: true, Sealing: true, Shut: true}
	f.Add(full.AppendState(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHandover(b, none, none)
		if err == nil && !bytes.Equal(h.AppendState(nil), b) {
			t.Errorf("%x came out as %x", b, h.AppendState(nil))
		}
	})
}
