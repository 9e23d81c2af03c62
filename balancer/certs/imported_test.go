package certs

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// A told storage is certmagic's of files, which can fail, and tells what changes.
type told struct {
	*certmagic.FileStorage
	fails  atomic.Bool
	closed atomic.Bool // lists, but does not load

	mu      sync.Mutex
	changed []func(key string)
}

var errFails = errors.New("no quorum")

func newTold(t *testing.T) *told {
	return &told{FileStorage: &certmagic.FileStorage{Path: t.TempDir()}}
}

func (s *told) Load(ctx context.Context, key string) ([]byte, error) {
	if s.fails.Load() || s.closed.Load() {
		return nil, errFails
	}
	return s.FileStorage.Load(ctx, key)
}

func (s *told) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if s.fails.Load() {
		return nil, errFails
	}
	return s.FileStorage.List(ctx, prefix, recursive)
}

func (s *told) Store(ctx context.Context, key string, value []byte) error {
	if s.fails.Load() {
		return errFails
	}
	defer s.tell(key)
	return s.FileStorage.Store(ctx, key, value)
}

func (s *told) Delete(ctx context.Context, key string) error {
	if s.fails.Load() {
		return errFails
	}
	defer s.tell(key)
	return s.FileStorage.Delete(ctx, key)
}

func (s *told) tell(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.changed {
		f(key)
	}
}

func (s *told) Watch(ctx context.Context, _ string, changed func(key string)) {
	s.mu.Lock()
	s.changed = append(s.changed, changed)
	s.mu.Unlock()
	<-ctx.Done()
}

// shelved is a Keeper that serves what is on shelves at one listener.
func shelved(storage certmagic.Storage, shelves ...shelf) *Keeper {
	k := New(Options{Log: slog.New(slog.DiscardHandler), Storage: storage})
	k.serving.Store(&map[string]*front{"imaps": {shelves: shelves}})
	for i, s := range shelves {
		k.shelves[fmt.Sprint(i)] = &placed{shelf: s, listeners: []string{"imaps"}}
	}
	return k
}

func unlogged() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestImport goes the way of a certificate: brought at one node, served by another
// that shares the storage, replaced, exported, removed.
func TestImport(t *testing.T) {
	storage := newTold(t)
	here, there := newImported(storage, unlogged()), newImported(storage, unlogged())
	k := shelved(storage, here)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { there.run(ctx) })
	defer func() { cancel(); running.Wait() }()

	m, key := newMaker(t), ec(t)
	leaf := m.server(t, key, "*.example.org", "example.org")
	result, err := k.Import(t.Context(), chainText(m.middle, leaf), keyText(t, key))
	if err != nil || len(result.Warnings) > 0 {
		t.Fatalf("got %v, %v", result.Warnings, err)
	}
	id := result.Status.ID
	serves := func(s *imported, name string) string {
		for _, c := range s.match(name) {
			return fingerprint(c.Certificate[0])
		}
		return ""
	}
	want := fingerprint(leaf.Raw)
	for _, name := range []string{"", "example.org", "mail.example.org"} {
		if got := serves(here, name); got != want {
			t.Errorf("%q: got %q at once, want %q", name, got, want)
		}
	}
	comesToBe(t, func() bool { return serves(there, "mail.example.org") == want })
	for _, name := range []string{"org", "a.b.example.org", "example.com", ".example.org"} {
		if got := serves(here, name); got != "" {
			t.Errorf("%q: got %q, want nothing", name, got)
		}
	}

	// RSA stands beside ECDSA, and a newer one of a kind replaces the older.
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Import(t.Context(), chainText(m.server(t, rsaKey, "*.example.org", "example.org"), m.middle), keyText(t, rsaKey)); err != nil {
		t.Fatal(err)
	}
	key2 := ec(t)
	leaf2 := m.server(t, key2, "*.example.org", "example.org")
	if _, err := k.Import(t.Context(), chainText(leaf2, m.middle), keyText(t, key2)); err != nil {
		t.Fatal(err)
	}
	comesToBe(t, func() bool {
		all := there.match("example.org")
		return len(all) == 2 && fingerprint(all[0].Certificate[0]) == fingerprint(leaf2.Raw)
	})
	if _, err := k.Export(id, true); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want the replaced one to be unknown", err)
	}

	if _, err := k.Export("example.org", true); !errors.Is(err, ErrSeveral) || !strings.Contains(err.Error(), "RSA 2048") {
		t.Errorf("got %v, want a choice of two", err)
	}
	id = fingerprint(leaf2.Raw)[:8]
	e, err := k.Export(id, true)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Several {
		t.Error("it is not said that an RSA one is for the name, too")
	}
	if pair, err := tls.X509KeyPair(slices.Concat(e.Certificate, e.Chain), e.Key); err != nil || len(pair.Certificate) != 2 {
		t.Errorf("what was exported is no pair with a chain: %v", err)
	}
	if e, err := k.Export(id, false); err != nil || e.Key != nil {
		t.Errorf("got %v and a key that nobody asked for", err)
	}

	if _, err := k.Remove(t.Context(), "example.org"); !errors.Is(err, ErrSeveral) {
		t.Errorf("got %v, want a choice of two", err)
	}
	if gone, err := k.Remove(t.Context(), id); err != nil || gone.Fingerprint != fingerprint(leaf2.Raw) {
		t.Errorf("got %v, %v", gone, err)
	}
	comesToBe(t, func() bool { return len(there.match("example.org")) == 1 })
	if n := len(here.list()); n != 1 {
		t.Errorf("got %d, want the RSA one to be left", n)
	}
}

// comesToBe waits until something holds.
func comesToBe(t *testing.T, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	late := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-poll.C:
		case <-late:
			t.Fatal("it did not come to be within 10 s")
		}
	}
}

// TestImportedStays wants what is served to stay, whatever happens to the storage.
func TestImportedStays(t *testing.T) {
	storage := newTold(t)
	s := newImported(storage, unlogged())
	k := shelved(storage, s)
	m, key := newMaker(t), ec(t)
	chain := chainText(m.server(t, key, "mail.example.org"), m.middle)
	result, err := k.Import(t.Context(), chain, keyText(t, key))
	if err != nil {
		t.Fatal(err)
	}
	stays := func(problem string) {
		t.Helper()
		if err := s.renew(t.Context(), "mail.example.org", "", false); err == nil {
			t.Error("there was no error")
		}
		list := s.list()
		if len(s.match("mail.example.org")) != 1 || len(list) != 1 || !strings.Contains(list[0].Problem, problem) {
			t.Errorf("got %+v, want the one before, with the problem %q", list, problem)
		}
	}
	storage.fails.Store(true)
	stays("no quorum")
	if _, err := k.Import(t.Context(), chainText(m.server(t, key, "b.example.org"), m.middle), keyText(t, key)); !errors.Is(err, errFails) {
		t.Errorf("got %v, want the storage's error", err)
	}
	storage.fails.Store(false)
	storage.closed.Store(true)
	stays("cannot be read: no quorum")
	storage.closed.Store(false)
	if err := storage.Store(t.Context(), result.Status.From, []byte("torn")); err != nil {
		t.Fatal(err)
	}
	stays("import it again")
	good, err := openBundle(chain, keyText(t, key), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	value, err := good.pem()
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Store(t.Context(), result.Status.From, value); err != nil {
		t.Fatal(err)
	}
	if err := s.renew(t.Context(), "", "", false); err != nil || s.list()[0].Problem != "" {
		t.Errorf("got %v, %+v, want all to be well with the old one back", err, s.list())
	}
	if err := storage.Store(t.Context(), result.Status.From, []byte("torn")); err != nil {
		t.Fatal(err)
	}
	stays("import it again")
	if err := storage.Store(t.Context(), "imported/other/ecdsa.pem", []byte("torn too")); err != nil {
		t.Fatal(err)
	}
	stays("import it again") // and the broken one, which was never served, is not there
	if err := storage.Delete(t.Context(), "imported/other"); err != nil {
		t.Fatal(err)
	}
	if err := storage.Delete(t.Context(), result.Status.From); err != nil {
		t.Fatal(err)
	}
	if err := s.renew(t.Context(), "", "", false); err != nil || len(s.list()) != 0 {
		t.Errorf("got %v, %v, want it gone, as it is known to be", s.list(), err)
	}
}

// deaf is a storage that tells nothing.
type deaf struct{ certmagic.Storage }

// TestImportedWithoutFeed wants a change seen in a minute, and a failure tried
// again sooner.
func TestImportedWithoutFeed(t *testing.T) {
	m, key := newMaker(t), ec(t)
	b, err := openBundle(chainText(m.server(t, key, "mail.example.org"), m.middle), keyText(t, key), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	value, err := b.pem()
	if err != nil {
		t.Fatal(err)
	}
	storage := newTold(t)
	synctest.Test(t, func(t *testing.T) {
		storage.fails.Store(true)
		s := newImported(deaf{storage}, unlogged())
		ctx, cancel := context.WithCancel(t.Context())
		go s.run(ctx)
		synctest.Wait()
		storage.fails.Store(false)
		time.Sleep(retryRead + time.Second) // it has read, and found nothing
		if err := storage.Store(ctx, "imported/mail.example.org/ecdsa.pem", value); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rereadEvery / 2)
		if len(s.match("mail.example.org")) != 0 {
			t.Error("it was read before its time")
		}
		time.Sleep(rereadEvery)
		if len(s.match("mail.example.org")) != 1 {
			t.Error("it was not read within a minute")
		}
		cancel()
		synctest.Wait()
	})
}

// TestOddNames wants names that a CA has signed to do nothing to who reads of them.
func TestOddNames(t *testing.T) {
	m, key := newMaker(t), ec(t)
	leaf := m.sign(t, key, func(c *x509.Certificate) {
		c.DNSNames, c.NotAfter = []string{"mail.example.org\nready \x1b[2J"}, time.Now().Add(time.Minute)
	}, m.middle, m.middleKey)
	if _, err := openBundle(chainText(leaf, m.middle), keyText(t, ec(t)), time.Now()); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("got %q", err)
	}
	status := (&bundle{chain: []*x509.Certificate{leaf}, key: key}).status("x.pem")
	status.NotBefore = time.Now().Add(-90 * day)
	k := shelved(nil, &fake{statuses: []Status{status}})
	want := `certificate "mail.example.org\nready \x1b[2j" expires in 0 h`
	if got := k.Degraded(); len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestImportWithoutPlace(t *testing.T) {
	m, key := newMaker(t), ec(t)
	chain, pem := chainText(m.server(t, key, "mail.example.org"), m.middle), keyText(t, key)
	if _, err := shelved(nil).Import(t.Context(), chain, pem); err == nil || !strings.Contains(err.Error(), "fleet.state_dir") {
		t.Errorf("got %v, want what to set", err)
	}
	result, err := shelved(newTold(t)).Import(t.Context(), chain, pem)
	if err != nil || len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "imported = true") {
		t.Errorf("got %v, %v, want a hint at the configuration", result.Warnings, err)
	}
	if _, err := shelved(newTold(t)).Import(t.Context(), chainText(m.server(t, key, "../../x"), m.middle), pem); err == nil || !strings.Contains(err.Error(), "no name of a host") {
		t.Errorf("got %v, want the name refused", err)
	}
}

// TestImportedKeysAreNotLogged looks for the key in all that is logged.
func TestImportedKeysAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	storage := newTold(t)
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	k := shelved(storage, newImported(storage, logger))
	m, key := newMaker(t), ec(t)
	pem := keyText(t, key)
	result, err := k.Import(t.Context(), chainText(m.server(t, key, "mail.example.org"), m.middle), pem)
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Store(t.Context(), result.Status.From, pem); err != nil { // a key without a certificate
		t.Fatal(err)
	}
	for range 3 {
		k.reread(t.Context())
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("got %d warnings of one fault", n)
	}
	if !strings.Contains(log.String(), "mail.example.org") || !strings.Contains(log.String(), "import it again") {
		t.Errorf("the log does not tell what happened: %s", &log)
	}
	for line := range strings.Lines(string(pem)) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(log.String(), line[:20]) {
			t.Error("the log has the key")
		}
	}
}
