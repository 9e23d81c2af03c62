package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// Any number of strangers cost one read at a time and four in a second, and who asks
// after a challenge was stored finds it.
func TestLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trip = 10 * time.Millisecond // to the leader
		var reads atomic.Int64
		var there atomic.Bool
		l := &lookups{find: func(context.Context, string) (*dare, error) {
			reads.Add(1)
			found := there.Load()
			<-time.After(trip)
			if found {
				return newDare(acme.Challenge{Token: "x"}), nil
			}
			return nil, fs.ErrNotExist
		}}
		ctx, stop := context.WithCancel(t.Context())
		var strangers sync.WaitGroup
		for range 100 {
			strangers.Go(func() {
				for ctx.Err() == nil {
					_, _ = l.get(ctx, "mail.example.org", true)
				}
			})
		}
		<-time.After(38*(trip+lookupPause) + trip/2) // amid a read
		if n := reads.Load(); n != 39 {
			t.Errorf("%d reads in 10 s, want 39", n)
		}
		begin := time.Now()
		there.Store(true) // after this read began
		d, err := l.get(t.Context(), "mail.example.org", true)
		if err != nil || d.Token != "x" {
			t.Errorf("right after it was stored: %v, %v", d, err)
		}
		if wait := time.Since(begin); wait > time.Second {
			t.Errorf("it took %v", wait)
		}
		stop()
		strangers.Wait()

		var busy atomic.Int64
		for i := range 10 * maxLookups {
			strangers.Go(func() {
				if _, err := l.get(t.Context(), fmt.Sprintf("x%d.example.org", i), false); errors.Is(err, errBusy) {
					busy.Add(1)
				}
			})
		}
		strangers.Wait()
		if n := busy.Load(); n != 9*maxLookups {
			t.Errorf("%d of %d made-up names were refused", n, 10*maxLookups)
		}
		if d, err := l.get(t.Context(), "mail.example.org", true); err != nil || d.Token != "x" {
			t.Errorf("a configured name at that time: %v, %v", d, err)
		}
		synctest.Wait()
		<-time.After(2 * lookupPause)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.active) != 0 || l.made != 0 {
			t.Errorf("%d lookups go on, %d of made-up names", len(l.active), l.made)
		}
	})
}

// idle is a registrar that nobody runs, with a policy.
func idle(t testing.TB, s *memory, a ACME, names, patterns []string) *registrar {
	t.Helper()
	r := newRegistrar(Options{Storage: s})
	p, err := newPolicy(a, names, patterns)
	if err != nil {
		t.Fatal(err)
	}
	r.apply(p)
	return r
}

// FuzzAnswer holds the laws of the port that everybody reaches: it answers what was
// stored for the name and nothing else, and asks the storage for names of the
// configuration only.
func FuzzAnswer(f *testing.F) {
	s := newMemory()
	i := Issuer{Name: "ca", Directory: "https://ca.example.org/dir", Challenges: []Challenge{HTTP01}}
	r := idle(f, s, acmeOf(i), []string{"mail.example.org"}, []string{"*.c.example.org"})
	challenge := acme.Challenge{Type: string(HTTP01), Token: "token", KeyAuthorization: "token.print", Identifier: acme.Identifier{Type: "dns", Value: "mail.example.org"}}
	r.dares.set("mail.example.org", newDare(challenge))
	var asked atomic.Pointer[string]
	r.lookups.find = func(_ context.Context, name string) (*dare, error) {
		asked.Store(&name)
		return nil, fs.ErrNotExist
	}
	f.Add("GET", "/.well-known/acme-challenge/token", "mail.example.org")
	f.Add("GET", "/.well-known/acme-challenge/token", "MAIL.example.org.:80")
	f.Add("GET", "/.well-known/acme-challenge/../x", "x.c.example.org")
	f.Add("POST", "/", "[::1]:80")
	f.Fuzz(func(t *testing.T, method, path, host string) {
		q := httptest.NewRequest(http.MethodGet, "/", nil)
		q.Method, q.URL.Path, q.Host = method, path, host
		w := httptest.NewRecorder()
		if strings.HasSuffix(hostName(host), ".c.example.org") {
			return // would wait its turn
		}
		asked.Store(nil)
		r.ServeHTTP(w, q)
		if name := asked.Load(); name != nil {
			t.Errorf("%q was looked for", *name)
		}
		want := method == http.MethodGet && path == challengePath+"token" && hostName(host) == "mail.example.org"
		if got := w.Code == http.StatusOK; got != want || got && w.Body.String() != "token.print" {
			t.Errorf("%s %q at %q: %d %q", method, path, host, w.Code, w.Body)
		}
	})
}

// The other paths of the HTTP door.
func TestRedirect(t *testing.T) {
	r := idle(t, newMemory(), ACME{}, nil, nil)
	for _, tt := range []struct{ to, path, want string }{
		{"", "/", ""},
		{"https://www.example.org/", "/a?b=c", "https://www.example.org/a?b=c"},
		{"https://www.example.org", "//evil.example", "https://www.example.org//evil.example"},
	} {
		p := *r.policy()
		p.Redirect = tt.to
		r.apply(&p)
		w := httptest.NewRecorder()
		q := httptest.NewRequest(http.MethodGet, "/", nil)
		u, err := q.URL.Parse(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if q.URL = u; u.Host != "" {
			q.URL.Path, q.URL.Host = tt.path, ""
		}
		r.ServeHTTP(w, q)
		if got := w.Header().Get("Location"); got != tt.want {
			t.Errorf("%s to %q: got %q, want %q", tt.path, tt.to, got, tt.want)
		}
	}
}

// A port is not opened twice, nor closed without need, and strangers at the port of
// TLS-ALPN-01 get nothing.
func TestDoors(t *testing.T) {
	r := newRig(t, newMemory(), anyPort, anyPort)
	h, a := r.doors.Addresses()
	if err := r.doors.Apply("127.0.0.1:0", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if h2, a2 := r.doors.Addresses(); h2 != h || a2 != a {
		t.Errorf("now at %s and %s, were at %s and %s", h2, a2, h, a)
	}
	if err := r.doors.Apply(a, "127.0.0.1:0"); err == nil {
		t.Error("a port that is taken was opened")
	}
	if h2, _ := r.doors.Addresses(); h2 != h {
		t.Errorf("the door that was open is at %q", h2)
	}
	for _, protos := range [][]string{nil, {"imap"}, {ChallengeProtocol}, {ChallengeProtocol, "imap"}} {
		c, err := tls.Dial("tcp", a, &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", NextProtos: protos})
		if err == nil {
			c.Close()
			t.Errorf("%v: a handshake", protos)
		}
	}
	r.doors.Close()
	if c, err := net.DialTimeout("tcp", a, time.Second); err == nil {
		c.Close()
		t.Error("a closed door takes connections")
	}
}

// certmagic's chatter is for debugging, its errors are told once, and no secret is.
func TestBridge(t *testing.T) {
	var out bytes.Buffer
	z := bridge(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))).Named("x").With(zap.String("a", "b"))
	z.Info("chatter")
	z.Warn("chatter")
	z.Error("job failed")
	if out.Len() > 0 {
		t.Errorf("chatter above debug: %s", &out)
	}
	for range 3 {
		z.Error("unable to unlock", zap.Error(errors.New("no")), zap.String("private_key", "sesame"), zap.Duration("after", time.Second))
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, `part=x says="unable to unlock" a=b error=no`) {
		t.Errorf("got %s", got)
	}
	if strings.Contains(out.String(), "sesame") {
		t.Error("a secret is in the log")
	}
}

// What is in no CA's power to be shown by Pebble or a fake.
func TestAdvice(t *testing.T) {
	problem := func(kind string) error {
		return fmt.Errorf("order: %w", acme.Problem{Type: acme.ProblemTypeNamespace + kind, Detail: "words"})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{context.DeadlineExceeded, "the CA does not answer"},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, "the CA is not reached"},
		{&net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}, "the CA does not answer"},
		{problem("connection"), "port 80 for http-01"},
		{problem("dns"), "cannot resolve the name"},
		{problem("incorrectResponse"), "somebody else answers"},
		{problem("unauthorized"), "check the account"},
		{problem("userActionRequired"), "terms have changed"},
		{problem("serverInternal"), "the CA has trouble"},
		{problem("somethingNew"), "tried again by itself"},
		{storageError{errors.New("no leader")}, "certificates cannot be kept"},
		{errors.New("unable to acquire lock 'x': lock \"x\": this node is isolated from its fleet, or has not joined it yet"), "the disk of its state directory"},
		{fmt.Errorf("[x] Obtain: saving assets: no leader"), "certificates cannot be kept"},
		{errWildcard, "allow dns-01"},
		{errors.New("something"), "level debug"},
	} {
		if got := advice(tt.err); !strings.Contains(got, tt.want) {
			t.Errorf("%v: got %q, want it to have %q", tt.err, got, tt.want)
		}
	}
	if got := words(errors.New("a\r\n\x1b[31mb " + strings.Repeat("é", maxWords))); strings.ContainsAny(got, "\r\n\x1b") || len(got) > maxWords+8 {
		t.Errorf("got %q", got)
	}
}

// FuzzRetryAfter holds the bound on what a CA may ask of our patience.
func FuzzRetryAfter(f *testing.F) {
	f.Add("3600")
	f.Add("99999999999999999999")
	f.Add("Fri, 31 Dec 9999 23:59:59 GMT")
	f.Fuzz(func(t *testing.T, header string) {
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		var l limits
		l.note("a.example.org", header, now)
		if until := l.holds["a.example.org"].until; until.After(now.Add(maxPatience)) {
			t.Errorf("%q: until %v", header, until)
		}
	})
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*.c.example.org", "a.c.example.org", true},
		{"*.c.example.org", "a.b.c.example.org", false},
		{"*.c.example.org", "c.example.org", false},
		{"*.c.example.org", ".c.example.org", false},
		{"*.c.example.org", "*.c.example.org", false},
		{"a.example.org", "a.example.org", true},
		{"a.example.org", "b.example.org", false},
		{"*.c.example.org", "*", false},
		{"*.c.example.org", "", false},
	} {
		if got := setOf([]string{tt.pattern, "other.example.org"}).covers(tt.name); got != tt.want {
			t.Errorf("%s has %q: got %v", tt.pattern, tt.name, got)
		}
	}
	for _, bad := range []string{"*", "*.org", "a.*.example.org", "**.example.org"} {
		if _, err := newPolicy(acmeOf(Issuer{Name: "a", Challenges: []Challenge{HTTP01}}), nil, []string{bad}); err == nil {
			t.Errorf("%q is taken for a pattern", bad)
		}
	}
}

// Clients that make names up cost so much and no more.
func TestBudget(t *testing.T) {
	var b budget
	now := time.Now()
	n := 0
	for b.order(now) {
		n++
	}
	if n != demandsPerHour {
		t.Errorf("%d orders, want %d", n, demandsPerHour)
	}
	if !b.order(now.Add(time.Hour)) {
		t.Error("after an hour there is none")
	}
}

// slow is a CA that takes its time for nothing.
type slow struct {
	asked int
	takes time.Duration
}

func (s *slow) RoundTrip(*http.Request) (*http.Response, error) {
	s.asked++
	<-time.After(s.takes)
	return nil, context.DeadlineExceeded
}

// A CA that does not answer keeps one request waiting, and not each.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := &slow{takes: answerTime}
		g := caGuard{ca, new(limits)}
		q := httptest.NewRequest(http.MethodGet, "https://ca.example.org/dir", nil)
		begin := time.Now()
		for range 5 {
			if _, err := g.RoundTrip(q); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(begin); ca.asked != 1 || took != answerTime {
			t.Errorf("%d requests in %v", ca.asked, took)
		}
		<-time.After(answerTime)
		ca.takes = time.Millisecond // refused
		for range 3 {
			if _, err := g.RoundTrip(q); err == nil {
				t.Error("an answer")
			}
		}
		if ca.asked != 4 {
			t.Errorf("%d requests, want 4: quick failures may be tried again", ca.asked)
		}
	})
}
