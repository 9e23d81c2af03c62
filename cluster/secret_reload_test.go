package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// enter comes to a node's port by the first of some secrets, all of which it
// believes, as another node does.
func enter(t *testing.T, s *sitter, secrets ...Secret) (*tls.Conn, error) {
	t.Helper()
	id, err := newIdentity("visitor", secrets)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", s.f.port.advertise.String(), id.config(protoAPI))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "POST /v1/fresh HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Read(make([]byte, 4096)); err != nil { // of a refusal a client hears here
		return nil, err
	}
	return c, nil
}

// TestSecretReload exchanges the secret of a fleet that runs, with users live and
// logging in: nobody loses his fleet or notices, steps out of order are refused, and
// at the end the old secret opens nothing, nor what was opened by it.
func TestSecretReload(t *testing.T) {
	lines := make(tape, 1<<16)
	old, next := NewSecret(), NewSecret()
	nodes := trio(t, func(o *FleetOptions) { o.Secrets, o.Log = []Secret{old}, slog.New(lines) })
	for _, s := range nodes {
		await(t, s)
	}
	lives := fmt.Sprint(lifeOf(nodes))
	for len(lines) > 0 { // what belongs to the start
		<-lines
	}

	stop := make(chan struct{})
	var logins sync.WaitGroup
	for i, s := range nodes {
		s.login(t, "joe")
		logins.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				_, _, hold, err := s.f.Place(t.Context(), "main", fmt.Sprintf("user%d-%d", i, n%50))
				if err == nil {
					err = s.f.Still(hold)
					s.f.Release(hold)
				}
				if err != nil {
					t.Errorf("a login during the rotation: %v", err)
					return
				}
			}
		})
	}
	all := func(list ...Secret) {
		t.Helper()
		for _, s := range nodes {
			until(t, "the step to be taken", func() bool {
				err := s.f.SetSecrets(list)
				if err != nil && !strings.Contains(err.Error(), "try again") {
					t.Fatal(err)
				}
				return err == nil
			})
		}
	}
	refused := func(s *sitter, want string, list ...Secret) {
		t.Helper()
		if err := s.f.SetSecrets(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}

	if err := nodes[0].f.SetSecrets([]Secret{old, next}); err != nil {
		t.Fatal(err)
	}
	refused(nodes[0], "not known to edge-2, edge-3", next, old)
	refused(nodes[1], "would be alone", next)
	if _, err := enter(t, nodes[0], next, old); err != nil {
		t.Errorf("by a version that was added: %v", err)
	}
	all(old, next)
	all(next, old)
	former, err := enter(t, nodes[2], old, next)
	if err != nil {
		t.Fatalf("by the version that is going: %v", err)
	}
	until(t, "the map key to be sealed anew", func() bool {
		for _, s := range nodes {
			s.f.mu.Lock()
			_, fresh, err := s.f.openMapKey(s.f.table.Settings.MapKey)
			s.f.mu.Unlock()
			if !fresh || err != nil {
				return false
			}
		}
		return true
	})
	all(next)

	if err := former.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := former.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection by the old secret goes on: %v", err)
	}
	for _, s := range nodes {
		if _, err := enter(t, s, old, next); err == nil {
			t.Error("the old secret still opens a node")
		}
		if _, err := enter(t, s, next); err != nil {
			t.Errorf("the new secret: %v", err)
		}
	}
	until(t, "an order by the new secret", func() bool {
		err := nodes[1].f.Move(t.Context(), "main", "ann", "store2", "test")
		if err != nil && !errors.Is(err, ErrNoLeader) { // raft's connections are new, and a busy machine may elect
			t.Fatal(err)
		}
		return err == nil
	})
	close(stop)
	logins.Wait()
	for _, s := range nodes {
		if n := s.f.stats.Isolated.Load(); n != 0 || s.count() != 1 {
			t.Errorf("%s was isolated %d times and has %d sessions, want 0 and 1", s.f.o.Node, n, s.count())
		}
	}
	if now := fmt.Sprint(lifeOf(nodes)); now != lives {
		t.Errorf("lives are %s, were %s", now, lives)
	}
	for len(lines) > 0 {
		if r := <-lines; r.Level >= slog.LevelWarn && !strings.Contains(r.Message, "refused") || r.Message == "a node left" {
			t.Errorf("%v %s", r.Level, r.Message)
		}
	}
}

func lifeOf(nodes []*sitter) (lives []uint64) {
	for _, s := range nodes {
		s.f.mu.Lock()
		lives = append(lives, s.f.node.Life())
		s.f.mu.Unlock()
	}
	return lives
}
