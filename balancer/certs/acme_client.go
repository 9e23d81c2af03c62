package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

const (
	// answerTime bounds one answer of a CA: those under load need some seconds.
	answerTime = 30 * time.Second

	// maxAnswer bounds one answer of a CA: chains have some 10 KiB.
	maxAnswer = 1 << 20

	// maxPatience bounds how long a CA may tell us to wait: with a certificate of
	// six days nobody can wait for longer than one.
	maxPatience = 24 * time.Hour
)

// errLong is an answer beyond maxAnswer.
var errLong = fmt.Errorf("%w: an answer of more than %d bytes", errNonsense, maxAnswer)

// httpClient speaks with one CA, and with nobody without TLS: where a CA's answers
// send us is the CA's choice.
func httpClient(i Issuer, l *limits) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone() // with the proxy of the environment
	t.TLSClientConfig = &tls.Config{RootCAs: i.Roots, MinVersion: tls.VersionTLS12}
	t.ResponseHeaderTimeout = answerTime
	t.MaxResponseHeaderBytes = maxAnswer
	t.MaxIdleConns = 1
	t.IdleConnTimeout = answerTime // nobody closes it otherwise
	return &http.Client{Transport: caGuard{t, l}, Timeout: answerTime}
}

// A caGuard bounds what a CA may answer and sees when it wants us to wait.
type caGuard struct {
	http.RoundTripper
	limits *limits
}

func (g caGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%w: it sends us to %q, which is no https URL", errNonsense, r.URL.Redacted())
	}
	if err := g.limits.silence(time.Now()); err != nil {
		return nil, err
	}
	begin := time.Now()
	resp, err := g.RoundTripper.RoundTrip(r)
	if err != nil {
		g.limits.unanswered(err, begin, time.Now())
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		if name, ok := r.Context().Value(orderOf{}).(string); ok {
			g.limits.note(name, resp.Header.Get("Retry-After"), time.Now())
		}
	case http.StatusServiceUnavailable:
		g.limits.note(everyName, resp.Header.Get("Retry-After"), time.Now())
	}
	resp.Body = &bounded{resp.Body, maxAnswer}
	return resp, nil
}

// bounded is a body that fails beyond its bound, rather than to look complete.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errLong
	}
	return n, err
}

// errSilent is what is said of a CA in the time in which it is not asked. What ended the
// request before may be our own limit, which says nothing of a time that is over.
var errSilent = errors.New("it has not answered")

// everyName stands for all names in limits.
const everyName = ""

// manyNames is how many names of the configuration a CA refuses at a time for its rate
// before it is taken that it would refuse every one: most of its limits are of a name,
// or of a domain, and only those of an account concern all.
const manyNames = 3

// orderOf is the key under which the context of an order's requests has its name.
type orderOf struct{}

// A hold is a CA's wish that a name be left alone.
type hold struct {
	until  time.Time
	err    error // its words, once they are known: before that nothing is held
	listed bool  // the name is one of the configuration, no client's idea
}

// limits remember how long a CA wants to be left alone, and its words for it, and
// that it does not answer. A wish concerns the name that was ordered: strangers who
// may have names ordered must not stop the orders of others.
type limits struct {
	mu    sync.Mutex
	holds map[string]hold // by name

	silent time.Time // until when it is not asked
	reason error
}

// silence is the error of a request to a CA that has just kept another waiting for
// nothing: acmez asks three times, and lets no other CA be asked first meanwhile, not
// even the one that is to take its place.
func (l *limits) silence(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.silent) {
		return l.reason
	}
	return nil
}

// unanswered hears of a request that failed. Only those that took long count.
func (l *limits) unanswered(err error, begin, now time.Time) {
	if now.Sub(begin) < answerTime/2 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent, l.reason = now.Add(answerTime), fmt.Errorf("%w for %v: %w", errSilent, now.Sub(begin).Round(time.Second), err)
}

// note reads a Retry-After header (RFC 9110 §10.2.3) of an answer to a name's order.
func (l *limits) note(name, header string, now time.Time) {
	var until time.Time
	if n, err := strconv.ParseUint(header, 10, 31); err == nil {
		until = now.Add(time.Duration(n) * time.Second)
	} else if until, err = http.ParseTime(header); err != nil {
		return
	}
	if last := now.Add(maxPatience); until.After(last) {
		until = last
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds == nil {
		l.holds = make(map[string]hold)
	}
	maps.DeleteFunc(l.holds, func(_ string, h hold) bool { return !now.Before(h.until) })
	h := l.holds[name]
	h.until = until
	l.holds[name] = h
}

// hold is the error of an order that is not to be made now, or nil.
func (l *limits) hold(name string, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range []string{everyName, name} {
		if h := l.holds[n]; now.Before(h.until) && h.err != nil {
			return h.err
		}
	}
	return nil
}

// learn ends an order of a name, which is listed if the configuration has it: a
// success ends a wish to be left alone, and an error that came with one says how long.
func (l *limits) learn(name string, listed bool, err error, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.holds, everyName)
		delete(l.holds, name)
		l.silent = time.Time{}
		return nil
	}
	var problem acme.Problem
	if !(errors.As(err, &problem) && limited(problem) || says("HTTP 429")(err) || says("HTTP 503")(err)) {
		return err
	}
	said := err
	for _, n := range []string{everyName, name} {
		h, ok := l.holds[n]
		if !ok || n == everyName && h.err != nil || !now.Before(h.until) {
			continue
		}
		h.err, h.listed = fmt.Errorf("%w (not before %s UTC)", err, h.until.UTC().Format(time.DateTime)), listed
		l.holds[n] = h
		if n == name && listed {
			l.spread(h, now)
		}
		said = h.err
	}
	return said
}

// spread holds all names if manyNames of the configuration are held, until the first of
// those is free again. The newest is h. The caller holds l.mu.
func (l *limits) spread(h hold, now time.Time) {
	n := 0
	for name, other := range l.holds {
		if name != everyName && other.listed && now.Before(other.until) {
			n++
			if other.until.Before(h.until) {
				h = other
			}
		}
	}
	if n >= manyNames {
		l.holds[everyName] = h
	}
}

// clear has the CA asked again now for a name.
func (l *limits) clear(name string) { _ = l.learn(name, false, nil, time.Time{}) }

func limited(p acme.Problem) bool {
	return p.Type == acme.ProblemTypeRateLimited || p.Status == http.StatusTooManyRequests
}
