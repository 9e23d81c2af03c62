package admin

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// wrongDelay is how long somebody waits for the answer to a wrong token. Nobody guesses
// one; it keeps who tries from being a load.
const wrongDelay = time.Second

var (
	errNoCredentials = errors.New("no token and no certificate")
	errNoScheme      = errors.New("the header Authorization is not one \"Bearer TOKEN\"")
	errToken         = errors.New("the token is not known")
)

// Remote serves the API over TCP to those whom the gate knows, within the bounds of
// their roles, and metrics and readiness to the same. Without saying who one is there is
// whether the process lives, and the dashboard's page, which is the same for everybody and
// has no data in it.
func (s *Server) Remote(health http.Handler) http.Handler {
	g := s.o.Gate
	inside := http.NewServeMux()
	inside.Handle("/", s.inner)
	inside.Handle("/metrics", s.metrics)
	inside.Handle("/readyz", health)
	alive := func(w http.ResponseWriter, r *http.Request) { health.ServeHTTP(w, r) }
	outside := http.NewServeMux()
	outside.HandleFunc("/healthz", alive)
	outside.HandleFunc("/livez", alive)
	closed := g.known(inside)
	outside.Handle(apiPrefix, closed)
	outside.Handle("/metrics", closed)
	outside.Handle("/readyz", closed)
	if s.o.Board != nil {
		outside.Handle("/", s.o.Board)
	} else {
		outside.Handle("/", closed)
	}
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.failed(failedOrigin, r.RemoteAddr, errors.New("a page of another site has sent the browser"))
		refuse(w, http.StatusForbidden, "a page of another site may not give orders here", "use the dashboard of this node, or a program")
	}))
	return shielded(cross.Handler(outside))
}

// shielded sets what browsers go by. It is the strictest there is; a page that needs more
// says so itself. There is no Strict-Transport-Security: it would be for all ports of the
// host, also for those that have no TLS.
func shielded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := w.Header()
		to.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		to.Set("X-Content-Type-Options", "nosniff")
		to.Set("X-Frame-Options", "DENY")
		to.Set("Referrer-Policy", "no-referrer")
		to.Set("Cross-Origin-Opener-Policy", "same-origin")
		to.Set("Cross-Origin-Resource-Policy", "same-origin")
		to.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// known lets only those pass who say who they are.
func (g *Gate) known(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rules := g.rules.Load()
		c, why, err := rules.caller(r, time.Now())
		if err != nil {
			g.turnAway(w, r, why, err)
			return
		}
		if to, ok := r.Context().Value(guestKey{}).(*guest); ok {
			to.known.Store(true)
		}
		ctx := withCaller(r.Context(), c)
		if r.Method == http.MethodGet {
			// A stream must not outlive the token that it was opened with.
			var end context.CancelFunc
			ctx, end = context.WithCancel(ctx)
			defer end()
			defer context.AfterFunc(rules.in, end)()
			// Nor the certificate.
			if c.Via == viaCertificate {
				ctx, end = context.WithDeadline(ctx, r.TLS.PeerCertificates[0].NotAfter)
				defer end()
			}
		} else if r.URL.Path != LookupPath { // which changes nothing
			told := &outcome{ResponseWriter: w}
			defer func() {
				text := "order over TCP"
				if told.status >= http.StatusBadRequest {
					text = "an order over TCP was refused"
				}
				g.log.Info(text, "by", c.Name, "role", string(c.Role), "via", c.Via, "client", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "status", told.status)
			}()
			w = told
		}
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// An outcome remembers the status of an answer.
type outcome struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (o *outcome) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (o *outcome) Write(b []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	return o.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (o *outcome) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// turnAway answers one who is not let in.
func (g *Gate) turnAway(w http.ResponseWriter, r *http.Request, why int, err error) {
	g.failed(why, r.RemoteAddr, err)
	w.Header().Set("Connection", "close")
	if why == failedSubject {
		refuse(w, http.StatusForbidden, err.Error(), "have it named in operators or readers of [admin.api]")
		return
	}
	if why != failedMissing {
		wait := time.NewTimer(wrongDelay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
		}
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`) // RFC 6750 §3
	refuse(w, http.StatusUnauthorized, "who asks is not known: "+err.Error(), "send Authorization: Bearer TOKEN, or a client certificate; usher admin token makes tokens")
}

// caller returns who asks, or why that is not known. A token goes before a certificate;
// one that is wrong is not made good by the other.
func (r *gateRules) caller(q *http.Request, now time.Time) (Caller, int, error) {
	if said := q.Header.Values("Authorization"); len(said) > 0 {
		scheme, text, ok := strings.Cut(said[0], " ")
		if len(said) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
			return Caller{}, failedToken, errNoScheme
		}
		if c, ok := r.tokens.find(strings.TrimSpace(text)); ok {
			return c, 0, nil
		}
		return Caller{}, failedToken, errToken
	}
	if q.TLS == nil || len(q.TLS.PeerCertificates) == 0 {
		return Caller{}, failedMissing, errNoCredentials
	}
	// Once more, as the connection may be older than the CAs, or its certificate has
	// ended since.
	if err := r.verify(q.TLS.PeerCertificates, now); err != nil {
		return Caller{}, failedCertificate, err
	}
	return r.subject(q.TLS.PeerCertificates[0])
}

// subject returns whom a certificate is about.
func (r *gateRules) subject(crt *x509.Certificate) (Caller, int, error) {
	name := crt.Subject.CommonName
	if !callerName(name) {
		return Caller{}, failedSubject, errors.New("the certificate's common name is none that can be logged: " + errCallerName.Error())
	}
	is := func(rule string) bool {
		kind, value, ok := strings.Cut(rule, "=")
		switch {
		case rule == "*":
			return true
		case !ok:
			return rule == name
		}
		switch kind {
		case "CN":
			return value == name
		case "OU":
			return slices.Contains(crt.Subject.OrganizationalUnit, value)
		case "O":
			return slices.Contains(crt.Subject.Organization, value)
		}
		return false
	}
	switch {
	case slices.ContainsFunc(r.o.Operators, is):
		return Caller{name, RoleOperate, viaCertificate}, 0, nil
	case len(r.o.Readers) == 0, slices.ContainsFunc(r.o.Readers, is):
		return Caller{name, RoleRead, viaCertificate}, 0, nil
	}
	return Caller{}, failedSubject, errors.New("the certificate of " + name + " has no role here")
}
