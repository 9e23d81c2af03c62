package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// A brisk CA proves nothing and gives certificates of any dates at once.
type brisk struct {
	hostile
	Issuer
	by       *issuer
	from, to time.Duration                    // from now
	made     atomic.Pointer[x509.Certificate] // last
	certs    sync.Map                         // by path, PEM
	given    atomic.Int64
	asked    atomic.Int64 // for renewal information
	ask      func()       // then
}

func newBrisk(t *testing.T, from, to time.Duration) *brisk {
	t.Helper()
	own, pool := selfMade(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	b := &brisk{by: newIssuer(t), from: from, to: to}
	b.at = func(string, http.ResponseWriter) bool { return false }
	server := httptest.NewUnstartedServer(b)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	server.StartTLS()
	t.Cleanup(server.Close)
	b.url = server.URL
	b.Issuer = Issuer{Name: "brisk", Directory: b.url + directory(), Roots: pool, Challenges: []Challenge{HTTP01}}
	return b
}

func (b *brisk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	order := func(status, cert string) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "authorizations": []string{}, "finalize": b.url + "/finalize", "certificate": b.url + cert})
	}
	w.Header().Set("Replay-Nonce", fmt.Sprint("nonce", b.nonces.Add(1)))
	switch r.URL.Path {
	case "/order":
		if b.at(r.URL.Path, w) {
			b.orders.Add(1)
			return
		}
		b.orders.Add(1)
		w.Header().Set("Location", b.url+"/order/1")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		order("ready", "")
	case "/finalize":
		var jws struct{ Payload string }
		var payload struct{ CSR string }
		_ = json.NewDecoder(r.Body).Decode(&jws)
		data, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		_ = json.Unmarshal(data, &payload)
		data, _ = base64.RawURLEncoding.DecodeString(payload.CSR)
		csr, err := x509.ParseCertificateRequest(data)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		template := &x509.Certificate{SerialNumber: newSerial(), NotBefore: time.Now().Add(b.from), NotAfter: time.Now().Add(b.to), DNSNames: csr.DNSNames}
		der, err := x509.CreateCertificate(nil, template, b.by.cert, csr.PublicKey, b.by.key)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		made, _ := x509.ParseCertificate(der)
		b.made.Store(made)
		at := "/cert/" + made.SerialNumber.String()
		b.certs.Store(at, certPEM(made))
		order("valid", at)
	default:
		switch {
		case strings.HasPrefix(r.URL.Path, "/cert/"):
			b.given.Add(1)
			w.Header().Set("Content-Type", "application/pem-certificate-chain")
			text, _ := b.certs.Load(r.URL.Path)
			_, _ = io.WriteString(w, text.(string))
		case strings.HasPrefix(r.URL.Path, "/dir"):
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{
				"newNonce": b.url + "/nonce", "newAccount": b.url + "/account", "newOrder": b.url + "/order", "renewalInfo": b.url + "/ari",
			})
		case strings.HasPrefix(r.URL.Path, "/ari/"):
			b.asked.Add(1)
			if b.ask != nil {
				b.ask()
			}
			w.Header().Set("Content-Type", "application/json")
			at := time.Now().Truncate(24 * time.Hour)
			_ = json.NewEncoder(w).Encode(map[string]any{"suggestedWindow": map[string]any{"start": at.AddDate(0, 0, 60), "end": at.AddDate(0, 0, 62)}})
		default:
			b.hostile.ServeHTTP(w, r)
		}
	}
}

// aged is one of which a third is gone: it is renewed.
func aged(t *testing.T, name string) tls.Certificate {
	t.Helper()
	c, _ := selfMade(t, time.Now().Add(-70*24*time.Hour), time.Now().Add(20*24*time.Hour), name)
	return c
}

// heedful is a storage that heeds contexts, as the fleet does.
type heedful struct {
	*memory
	after func(key string)
}

func (h heedful) Store(ctx context.Context, key string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := h.memory.Store(ctx, key, value)
	if h.after != nil {
		h.after(key)
	}
	return err
}

const oneName = "a.example.org"

func stored1(t *testing.T, s *memory, ca string) (*stock, error) {
	t.Helper()
	p, _, err := readStored(t.Context(), s, wantOne, []string{ca})
	return p, err
}

// planFor is a plan of one name.
func planFor(i Issuer) Plan {
	return Plan{ACME: acmeOf(i), Listeners: map[string]Listener{"l": {Sources: []Source{{Names: []string{oneName}}}}}}
}

// A node that is told to end while it stores what it has obtained stores it.
func TestEndInRenewal(t *testing.T) {
	t.Parallel()
	for _, end := range []string{wholeEnd, keyEnd, chainEnd, metaEnd} {
		ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
		m := newMemory()
		putStored(t, m, ca.key(), oneName, aged(t, oneName))
		ctx, stop := context.WithTimeout(t.Context(), testPatience)
		k := New(Options{Storage: heedful{m, func(key string) {
			if strings.HasPrefix(key, wholeBase(ca.key(), oneName)) && strings.HasSuffix(key, end) {
				stop()
			}
		}}})
		if err := k.Apply(planFor(ca.Issuer)); err != nil {
			t.Fatal(err)
		}
		k.Run(ctx)
		if p, err := stored1(t, m, ca.key()); err != nil || p.Leaf.SerialNumber.Cmp(ca.made.Load().SerialNumber) != 0 || p.undone {
			t.Errorf("ended after %s: %+v, %v", end, p, err)
		}
	}
}

// A node that dies at any time while it stores leaves a whole certificate, without one
// before it too, and another makes an end of it without an order.
func TestDeathInRenewal(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		for died := range 5 {
			ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
			m := newMemory()
			if !first {
				putStored(t, m, ca.key(), oneName, aged(t, oneName))
			}
			stores := 0
			m.failing(func(op, key string) error {
				if op == "store" && strings.HasPrefix(key, wholeBase(ca.key(), oneName)) {
					if stores++; stores > died {
						return errors.New("dead")
					}
				}
				return nil
			})
			r := newRig(t, m, 0, 0)
			r.wants(acmeOf(ca.Issuer), []string{oneName}, nil)
			until(t, "an order", func() bool { return ca.given.Load() == 1 && r.log.count("releasing lock") > 0 })
			r.end()
			m.failing(nil)
			if _, err := stored1(t, m, ca.key()); err != nil && (died > 1 || !first) {
				t.Errorf("first %v, died after %d stores: %v", first, died, err)
			}
			want := int64(1)
			if died == 0 { // nobody else has it
				want = 2
			}
			late := newRig(t, m, 0, 0)
			late.wants(acmeOf(ca.Issuer), []string{oneName}, nil)
			until(t, "the new one", func() bool {
				p, err := stored1(t, m, ca.key())
				return err == nil && !p.undone && p.Leaf.Equal(ca.made.Load()) && late.has(oneName).Leaf.Equal(p.Leaf)
			})
			if got := ca.given.Load(); got != want {
				t.Errorf("first %v, died after %d stores: %d orders, want %d", first, died, got, want)
			}
		}
	}
}

// A certificate that is due when it comes is ordered once, by one node of all, however
// often they look; and the words are for that.
func TestStillDue(t *testing.T) {
	t.Parallel()
	t.Run("old", func(t *testing.T) { t.Parallel(); stillDueOf(t, 20*24*time.Hour) })
	t.Run("over soon", func(t *testing.T) { t.Parallel(); stillDueOf(t, 30*time.Second) })
}

func stillDueOf(t *testing.T, left time.Duration) {
	ca := newBrisk(t, -70*24*time.Hour, left)
	m := newMemory()
	a, b := newRig(t, m, 0, 0), newRig(t, m, 0, 0)
	for _, r := range []*rig{a, b} {
		r.wants(acmeOf(ca.Issuer), []string{oneName}, nil)
	}
	for _, r := range []*rig{a, b} {
		r.says(stillDue)
	}
	before := m.loaded()
	for range 20 { // as if somebody had stored it
		a.registrar.changed(wholeBase(ca.key(), oneName) + metaEnd)
		until(t, "a look", func() bool { now := m.loaded(); ok := now > before; before = now; return ok })
	}
	if got := ca.orders.Load(); got != 1 {
		t.Errorf("%d orders, want 1", got)
	}
	if err := a.Renew(t.Context(), oneName, true); err != nil || ca.orders.Load() != 2 {
		t.Errorf("an administrator's wish: %v, %d orders", err, ca.orders.Load())
	}
}

// An order that fails is one of the fleet, not one of each node, of each start and of
// each reload; a plan with other issuers may do better.
func TestFailureShared(t *testing.T) {
	t.Parallel()
	ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
	ca.at = problemAt("/order", 403, "caa", "CAA record of a.example.org prevents issuance")
	m := newMemory()
	nodes := []*rig{newRig(t, m, 0, 0), newRig(t, m, 0, 0), newRig(t, m, 0, 0)}
	plan := acmeOf(ca.Issuer)
	for _, r := range nodes {
		r.wants(plan, []string{oneName}, nil)
	}
	nodes = append(nodes, nil)
	for i, r := range nodes {
		if r == nil {
			nodes[0].end()
			r = newRig(t, m, 0, 0) // that was ended and begins again
			r.wants(plan, []string{oneName}, nil)
			nodes[i] = r
		}
		r.says("CAA record of a.example.org prevents issuance")
		r.says("the CAA record of the name forbids this CA")
	}
	r := nodes[3]
	due := func() time.Time {
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		return r.registrar.works[wantOne].due
	}
	before := due()
	r.wants(plan, []string{oneName, "b.example.org"}, nil)
	until(t, "the plan to be in force", func() bool {
		r.registrar.mu.Lock()
		defer r.registrar.mu.Unlock()
		return r.registrar.works[want{"b.example.org", ECDSA}] != nil
	})
	if now := due(); !now.Equal(before) {
		t.Errorf("a reload has it tried at %v instead of %v", now, before)
	}
	until(t, "the other name to be tried", func() bool { return ca.orders.Load() == 2 })
	if data, err := m.Load(t.Context(), attemptKey(wantOne)); err != nil || !strings.Contains(string(data), `"tries":1`) {
		t.Errorf("%s, %v: want one order of the fleet", data, err)
	}
	plan.Email = "other@example.org"
	r.wants(plan, []string{oneName}, nil)
	until(t, "a try under another plan", func() bool { return ca.orders.Load() == 3 })
}

// What a CA gave is not ordered again because it cannot be stored: the storage is tried,
// until it takes it.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	for _, end := range []string{wholeEnd, chainEnd} {
		ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
		m := newMemory()
		served := aged(t, oneName)
		putStored(t, m, ca.key(), oneName, served)
		tries := make(chan struct{}, 1)
		m.failing(func(op, key string) error {
			if op != "store" || !strings.HasSuffix(key, end) {
				return nil
			}
			select {
			case tries <- struct{}{}:
			default:
			}
			return errors.New("the table is full")
		})
		r := newRig(t, m, 0, 0)
		r.wants(acmeOf(ca.Issuer), []string{oneName}, nil)
		for range 2 {
			select {
			case <-tries:
			case <-time.After(testPatience):
				t.Fatalf("%s is not tried", end)
			}
		}
		m.failing(nil)
		until(t, "what was obtained", func() bool {
			p, err := stored1(t, m, ca.key())
			return err == nil && !p.undone && p.Leaf.Equal(ca.made.Load()) && r.has(oneName).Leaf.Equal(p.Leaf)
		})
		if got := ca.given.Load(); got != 1 {
			t.Errorf("%s: %d orders, want 1", end, got)
		}
	}
}

// A lock that the fleet does not give is the fleet's fault, one that is held is nobody's.
func TestNoLock(t *testing.T) {
	none := lockless{newMemory()}
	s := &atOnce{none, none, ECDSA, new(wholes)}
	if err := s.Lock(t.Context(), "x"); !stored(errors.New("unable to acquire lock: " + err.Error())) {
		t.Errorf("%v is not taken for the storage's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Lock(ctx, "x"); stored(errors.New("unable to acquire lock: " + err.Error())) {
		t.Errorf("%v is taken for the storage's", err)
	}
}

type lockless struct{ *memory }

func (lockless) Lock(ctx context.Context, _ string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New("no leader")
}

// informed stores a certificate with renewal information that is to be asked for again.
func (b *brisk) informed(t *testing.T, m *memory) {
	t.Helper()
	leaf, key := b.by.issue(wanted{names: []string{oneName}})
	putStored(t, m, b.key(), oneName, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf})
	var info acme.RenewalInfo
	info.SuggestedWindow.Start, info.SuggestedWindow.End = time.Now().AddDate(0, 0, 50), time.Now().AddDate(0, 0, 52)
	info.SelectedTime = info.SuggestedWindow.Start
	meta, err := json.Marshal(map[string]any{"sans": []string{oneName}, "issuer_data": acme.Certificate{RenewalInfo: &info}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Store(t.Context(), wholeBase(b.key(), oneName)+metaEnd, meta); err != nil {
		t.Fatal(err)
	}
}

// A CA that does not say when to ask again is asked after hours, though each answer that
// is stored has all nodes look.
func TestRenewalInfoPause(t *testing.T) {
	t.Parallel()
	ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
	m := newMemory()
	ca.informed(t, m)
	nodes := []*rig{newRig(t, m, 0, 0), newRig(t, m, 0, 0)}
	for _, r := range nodes {
		r.wants(acmeOf(ca.Issuer), []string{oneName}, nil)
	}
	until(t, "an answer to be stored", func() bool {
		meta, err := m.Load(t.Context(), wholeBase(ca.key(), oneName)+metaEnd)
		return err == nil && strings.Contains(string(meta), "_retryAfter")
	})
	before := m.loaded()
	for range 20 {
		nodes[0].registrar.changed(wholeBase(ca.key(), oneName) + metaEnd)
		until(t, "a look", func() bool { now := m.loaded(); ok := now > before; before = now; return ok })
	}
	if got := ca.asked.Load(); got > int64(len(nodes)) {
		t.Errorf("asked %d times by %d nodes", got, len(nodes))
	}
}

func TestNextAsked(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { a := now.Add(d); return &a }
	for _, tt := range []struct {
		wish *time.Time
		want time.Duration
	}{{nil, 6 * time.Hour}, {at(-time.Hour), time.Hour}, {at(time.Second), time.Hour}, {at(5 * time.Hour), 5 * time.Hour}, {at(9000 * time.Hour), 24 * time.Hour}} {
		if got := nextAsked(tt.wish, now).Sub(now); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.wish, got, tt.want)
		}
	}
}

// An answer about a certificate that was replaced meanwhile, or is about to be, does not
// come over what is stored of the new one.
func TestRenewalInfoLate(t *testing.T) {
	t.Parallel()
	for _, held := range []bool{false, true} {
		ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
		m := newMemory()
		ca.informed(t, m)
		key := wholeBase(ca.key(), oneName) + metaEnd
		want, err := m.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		ca.ask = func() {
			if held {
				_ = m.Lock(t.Context(), "issue_cert_"+oneName)
				return
			}
			want = []byte(`{"sans":["new"],"issuer_data":{}}`)
			_ = m.Store(t.Context(), key, want)
		}
		r := newRig(t, m, 0, 0)
		r.wants(acmeOf(ca.Issuer), []string{oneName}, nil)
		until(t, "a look that has asked", func() bool {
			r.registrar.mu.Lock()
			defer r.registrar.mu.Unlock()
			w := r.registrar.works[wantOne]
			return w != nil && !w.busy && ca.asked.Load() > 0
		})
		r.end()
		if got, err := m.Load(t.Context(), key); err != nil || string(got) != string(want) {
			t.Errorf("held %v: got %s, %v, want %s", held, got, err, want)
		}
	}
}

var wantOne = want{oneName, ECDSA}

// A challenge that is left of one issuer's order does not stand in the light of another's,
// and is taken away before the next order.
func TestStaleChallenge(t *testing.T) {
	t.Parallel()
	ca := newBrisk(t, -time.Hour, 90*24*time.Hour)
	second := ca.Issuer
	second.Name, second.Directory = "second", ca.url+directory()
	m := newMemory()
	ids := []string{ca.key(), second.key()}
	for i, token := range []string{"stale", "fresh"} {
		for _, kind := range []Challenge{HTTP01, TLSALPN01} {
			s := solver{ids[i], m, new(dares)}
			c := acme.Challenge{Type: string(kind), Token: token, KeyAuthorization: token + ".x", Identifier: acme.Identifier{Type: "dns", Value: string(kind) + ".example.org"}}
			if err := s.Present(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys := func(name string) []string {
		return []string{challengeKey(ids[0], name), challengeKey(ids[1], name)}
	}
	d, err := elsewhere(t.Context(), m, keys("http-01.example.org"))
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"stale", "fresh"} {
		if got := d.pick(HTTP01, token); got == nil || got.KeyAuthorization != token+".x" {
			t.Errorf("%s: got %+v", token, got)
		}
	}
	if d.pick(HTTP01, "other") != nil || d.pick(TLSALPN01, "") != nil {
		t.Error("something is found that was not asked for")
	}
	if d, err = elsewhere(t.Context(), m, keys("tls-alpn-01.example.org")); err != nil || d.pick(TLSALPN01, "").Token != "fresh" {
		t.Errorf("got %+v, %v, want the newest", d, err)
	}
	r := newRig(t, m, 0, 0)
	r.wants(acmeOf(ca.Issuer, second), []string{"http-01.example.org"}, nil)
	r.has("http-01.example.org")
	for _, id := range ids {
		if m.Exists(t.Context(), challengeKey(id, "http-01.example.org")) {
			t.Errorf("a challenge of %s is left", id)
		}
	}
}
