package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// names are n names under a parent.
func namesUnder(parent string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("n%d.%s", i, parent)
	}
	return list
}

// tooled is a registrar that nobody runs, with what run prepares.
func tooled(t *testing.T, s *memory, a ACME, names, patterns []string) *registrar {
	t.Helper()
	r := idle(t, s, a, names, patterns)
	r.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return nil, nil },
		Logger:           r.zap,
	})
	t.Cleanup(r.cache.Stop)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retool(r.policy())
	return r
}

// To show one more certificate costs the same however many there are: with all of them
// looked through for each a start takes a minute.
func TestServeIsConstant(t *testing.T) {
	i := Issuer{Name: "ca", Directory: "https://ca.example.org/dir", Challenges: []Challenge{HTTP01}}
	names := namesUnder("example.org", 2000)
	r := tooled(t, newMemory(), acmeOf(i), names, []string{"*.c.example.org"})
	c := young(t, names[0])
	for _, w := range r.works {
		r.serve(w, newStock(&c, i.key(), time.Time{}))
	}
	const few = 100 // far below what goes through all
	w := r.works[want{names[0], ECDSA}]
	if n := testing.AllocsPerRun(10, func() {
		w.pair.Store(nil)
		r.serve(w, newStock(&c, i.key(), time.Time{}))
	}); n > few {
		t.Errorf("to serve one more of %d takes %v allocations", len(names), n)
	}
	k := 0
	if n := testing.AllocsPerRun(10, func() {
		if _, _, err := r.ask(fmt.Sprintf("x%d.c.example.org", k)); err != nil {
			t.Error(err)
		}
		k++
	}); n > few {
		t.Errorf("to want one more of %d takes %v allocations", len(names), n)
	}
}

// What is shown follows what is wanted.
func TestShown(t *testing.T) {
	i := Issuer{Name: "ca", Directory: "https://ca.example.org/dir", Challenges: []Challenge{HTTP01}}
	a := acmeOf(i)
	a.Keys = []KeyKind{RSA, ECDSA}
	r := tooled(t, newMemory(), a, []string{"a.example.org", "b.example.org"}, nil)
	c := young(t, "a.example.org")
	for _, kind := range []KeyKind{ECDSA, RSA} {
		r.serve(r.works[want{"a.example.org", kind}], newStock(&c, string(kind), time.Time{}))
	}
	kinds := func() (list []KeyKind) {
		if jobs, ok := r.shown.Load("a.example.org"); ok {
			for _, w := range jobs.([]*work) {
				list = append(list, w.kind)
			}
		}
		return list
	}
	if got := kinds(); !slices.Equal(got, a.Keys) {
		t.Errorf("shown are %v, want %v", got, a.Keys)
	}
	gone := r.works[want{"a.example.org", RSA}]
	for _, tt := range []struct {
		keys    []KeyKind
		names   []string
		want    []KeyKind
		watched int
	}{
		{[]KeyKind{ECDSA}, []string{"a.example.org"}, []KeyKind{ECDSA}, 1},
		{[]KeyKind{ECDSA}, []string{"b.example.org"}, nil, 1},
	} {
		a.Keys = tt.keys
		p, err := newPolicy(a, tt.names, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.apply(p)
		r.mu.Lock()
		r.retool(p)
		r.mu.Unlock()
		r.serve(gone, newStock(&c, "late", time.Time{})) // its reader comes back now
		if got := kinds(); !slices.Equal(got, tt.want) || len(r.watched) != tt.watched {
			t.Errorf("shown are %v and %d are watched, want %v and %d", got, len(r.watched), tt.want, tt.watched)
		}
	}
}

// An issuer that was configured once has left an expired certificate, and the one
// before it a good one: going back to the first takes nothing from clients, not even
// after a restart, and a new one is ordered.
func TestIssuerComesBack(t *testing.T) {
	t.Parallel()
	const name = "a.example.org"
	s := newMemory()
	a := Issuer{Name: "a", Directory: "https://127.0.0.1:1/a", Challenges: []Challenge{HTTP01}}
	b := Issuer{Name: "b", Directory: "https://127.0.0.1:1/b", Challenges: []Challenge{HTTP01}}
	good := young(t, name)
	putStored(t, s, a.key(), name, good)
	expired, _ := selfMade(t, time.Now().Add(-200*24*time.Hour), time.Now().Add(-110*24*time.Hour), name)
	putStored(t, s, b.key(), name, expired)
	check := func(r *rig, when string) {
		t.Helper()
		r.says("certificate not obtained") // of b, which is not there
		if got := r.has(name); !got.Leaf.Equal(good.Leaf) {
			t.Errorf("%s the one until %v is served", when, got.Leaf.NotAfter)
		}
	}
	r := newRig(t, s, 0, 0)
	r.wants(acmeOf(a), []string{name}, nil)
	r.has(name)
	r.wants(acmeOf(b), []string{name}, nil)
	check(r, "after a reload")
	r = newRig(t, s, 0, 0)
	r.wants(acmeOf(b), []string{name}, nil)
	check(r, "after a restart")
}

// A CA that refuses a name which a client came up with is asked for the names of the
// configuration all the same.
func TestStrangerHoldsNobody(t *testing.T) {
	t.Parallel()
	own, pool := selfMade(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	ca := &hostile{at: problemAt("/order", 429, "rateLimited", "too many failed authorizations", "Retry-After", "3600")}
	server := httptest.NewUnstartedServer(ca)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	server.StartTLS()
	defer server.Close()
	ca.url = server.URL
	a := acmeOf(Issuer{Name: "busy", Directory: ca.url + directory(), Roots: pool, Challenges: []Challenge{HTTP01}})
	r := newRig(t, newMemory(), 0, 0)
	r.wants(a, nil, []string{"*.c.example.org"})
	until(t, "the plan to be in force", func() bool {
		_, err := r.registrar.demand(t.Context(), "x.c.example.org")
		return err != nil && !errors.Is(err, errNobody)
	})
	r.says("name=x.c.example.org")
	before := ca.orders.Load()
	r.wants(a, []string{"a.example.org"}, []string{"*.c.example.org"})
	r.says("name=a.example.org")
	if before == 0 || ca.orders.Load() == before {
		t.Errorf("%d orders for the client's name, %d more for that of the configuration", before, ca.orders.Load()-before)
	}
}

// A reply is what a CA answers to everything.
type reply struct {
	status int
	after  string
}

func (a reply) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{"Retry-After": {a.after}}, Body: http.NoBody}, nil
}

// A CA that refuses one name is asked for the others, until it refuses several of the
// configuration, or says that it takes no orders at all.
func TestHolds(t *testing.T) {
	listed := func(name string) bool { return strings.HasSuffix(name, ".example.org") }
	for _, tt := range []struct {
		name    string
		refused []string
		status  int
		all     bool
	}{
		{"one", []string{"a.example.org"}, 429, false},
		{"two", []string{"a.example.org", "b.example.org"}, 429, false},
		{"several", []string{"a.example.org", "b.example.org", "c.example.org"}, 429, true},
		{"one, often", []string{"a.example.org", "a.example.org", "a.example.org"}, 429, false},
		{"clients'", []string{"a.test", "b.test", "c.test", "d.test", "a.example.org", "b.example.org"}, 429, false},
		{"closed", []string{"a.test"}, 503, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := new(limits)
			now := time.Now()
			for k, name := range tt.refused {
				q := httptest.NewRequestWithContext(context.WithValue(t.Context(), orderOf{}, name), http.MethodPost, "https://ca.example.org/order", nil)
				resp, err := caGuard{reply{tt.status, strconv.Itoa(600 * (k + 1))}, l}.RoundTrip(q)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				err = l.learn(name, listed(name), fmt.Errorf("HTTP %d: words", tt.status), now)
				if held := l.hold(name, now); held == nil || !strings.Contains(err.Error(), "words (not before ") {
					t.Errorf("%s: held by %v, told %v", name, held, err)
				}
			}
			if err := l.hold("z.example.org", now); (err != nil) != tt.all {
				t.Errorf("another name: %v", err)
			}
			if err := l.hold("z.example.org", now.Add(601*time.Second)); err != nil { // when the first is free
				t.Errorf("another name after that time: %v", err)
			}
			_ = l.learn("y.example.org", true, nil, now)
			if err := l.hold("z.example.org", now); err != nil {
				t.Errorf("after a certificate was given: %v", err)
			}
		})
	}
}

// What is listed of a certificate is made when that is read: metrics and readiness list
// a thousand of them, and to parse their chains would keep renewals waiting.
func TestListedOnce(t *testing.T) {
	i := Issuer{Name: "ca", Directory: "https://ca.example.org/dir", Challenges: []Challenge{HTTP01}}
	names := namesUnder("example.org", 50)
	r := tooled(t, newMemory(), acmeOf(i), names, nil)
	by := newIssuer(t)
	for _, name := range names {
		leaf, key := by.issue(wanted{names: []string{name}})
		r.serve(r.works[want{name, ECDSA}], newStock(&tls.Certificate{Certificate: [][]byte{leaf.Raw, by.cert.Raw}, PrivateKey: key, Leaf: leaf}, i.key(), time.Time{}))
	}
	o := r.shelf(Source{Names: names})
	first, second := o.list(), o.list()
	if len(first) != len(names) || first[0].From != "ca" || len(first[0].Chain) != 2 || first[0].RenewAt.IsZero() {
		t.Fatalf("listed are %d, the first %+v", len(first), first[0])
	}
	for k := range first {
		if first[k].Chain[1] != second[k].Chain[1] {
			t.Fatalf("%s was described twice", first[k].Names[0])
		}
	}
	if n := testing.AllocsPerRun(10, func() { o.list() }); n > float64(5*len(names)) {
		t.Errorf("a list of %d takes %v allocations", len(names), n)
	}
}
