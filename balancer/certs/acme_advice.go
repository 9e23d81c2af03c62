package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"unicode"

	"github.com/mholt/acmez/v3/acme"
)

// maxWords bounds what is told of an error: a CA may answer a whole web page.
const maxWords = 600

// words is an error as a log or a table may show it: in one line, without control
// characters, not too long.
func words(err error) string {
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r)
	}), " ")
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return text
}

// cures are what to do about errors; the first that is meant counts.
var cures = []struct {
	meant  func(err error) bool
	advice string
}{
	{stored, "certificates cannot be kept: look after the fleet, or the disk of its state directory, and nothing else has to be done"},
	{is(syscall.ENOSPC), "the disk is full: free some space, and nothing else has to be done"},
	{says("no space left on device"), "the disk is full: free some space, and nothing else has to be done"},
	{is(errStillDue), stillDue},
	{clock, "check this machine's clock; if it is right, the CA's own certificate has expired"},
	{as[x509.UnknownAuthorityError], "the CA's own certificate is signed by nobody we know: set ca_file of the issuer, if it is a CA of your own"},
	{as[x509.HostnameError], "the directory's URL and the CA's own certificate do not go together: check directory of the issuer"},
	{ofType(acme.ProblemTypeRateLimited), "the CA limits its rate: wait, it is tried again by itself; ask for fewer names, or add a second issuer"},
	{status(http.StatusTooManyRequests), "the CA limits its rate: wait, it is tried again by itself; ask for fewer names, or add a second issuer"},
	{ofType(acme.ProblemTypeCAA), "the CAA record of the name forbids this CA: add the CA to it, or take another"},
	{ofType(acme.ProblemTypeDNS), "the CA cannot resolve the name: check its records as the Internet sees them"},
	{ofType(acme.ProblemTypeConnection), "the CA does not reach us at the address that it names: check that the name leads here, and that no firewall keeps it out (port 80 for http-01, 443 for tls-alpn-01)"},
	{ofType(acme.ProblemTypeTLS), "the CA reaches somebody else, or a proxy, at the address that it names: check that port 443 leads to usher"},
	{ofType(acme.ProblemTypeIncorrectResponse), "somebody else answers the CA's challenge: check that the name and its port lead to usher, and to no web server"},
	{challenged, "the CA got a wrong answer to its challenge: check that the address which it names is a node of this fleet, and that its port 80 or 443 leads to usher"},
	{ofType(acme.ProblemTypeUnauthorized), "the CA does not let this account do that: check the account with the CA"},
	{ofType(acme.ProblemTypeRejectedIdentifier), "this CA gives no certificates for the name: take another CA, or another name"},
	{ofType(acme.ProblemTypeUnsupportedIdentifier), "this CA gives no certificates for such names: take another CA, or another name"},
	{ofType(acme.ProblemTypeUserActionRequired), "the CA's terms have changed: read them at the address that it names"},
	{ofType(acme.ProblemTypeExternalAccountRequired), "this CA wants accounts that it knows: set eab_key_id and eab_key_file of the issuer, as the CA has given them"},
	{ofType(acme.ProblemTypeInvalidContact), "the CA does not like the mail address: check email in [acme]"},
	{ofType(acme.ProblemTypeUnsupportedContact), "the CA does not like the mail address: check email in [acme]"},
	{ofType(acme.ProblemTypeBadNonce), "the CA, or a proxy before it, takes none of its own nonces: it is the CA's fault, tell its operators"},
	{ofType(acme.ProblemTypeServerInternal), "the CA has trouble: it is tried again by itself"},
	{is(errWildcard), "allow dns-01 for an issuer, and set [acme.dns]"},
	{says("no solvers available"), "none of the challenges that the CA offers is allowed for this issuer: check challenges"},
	{nonsense, "that is no ACME server, or one that is broken: check directory of the issuer, and whether a proxy is between"},
	{as[*net.DNSError], "the CA's name does not resolve: check directory of the issuer and this machine's resolver"},
	{is(syscall.ECONNREFUSED), "nobody listens at the CA's address: check directory of the issuer, or ask the CA's operators"},
	{timeout, "the CA does not answer: check this machine's way to it (firewall, proxy), or wait until it is back"},
	{unreached, "the CA is not reached: check this machine's way to it (network, firewall, proxy)"},
}

// advice says what to do about an error of an order. Without a cure it is tried
// again anyway.
func advice(err error) string {
	var paused *pausedError
	if errors.As(err, &paused) {
		return paused.Do // as it was found when the order was made
	}
	for _, c := range cures {
		if c.meant(err) {
			return c.advice
		}
	}
	return "it is tried again by itself; if it stays, look at the log at level debug"
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

func says(text string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), text) }
}

func ofType(kind string) func(error) bool {
	return func(err error) bool {
		var p acme.Problem
		return errors.As(err, &p) && p.Type == kind
	}
}

func status(code int) func(error) bool {
	return func(err error) bool {
		var p acme.Problem
		return errors.As(err, &p) && p.Status == code || strings.Contains(err.Error(), "HTTP 429")
	}
}

// stored: certmagic's own words hide what the storage said, be it of a value or of the
// lock that comes before an order.
func stored(err error) bool {
	var e storageError
	lost := errors.As(err, &e) || says("saving assets")(err) || says(errNoLock.Error())(err) || says("isolated from its fleet")(err)
	return lost && !says("no space left on device")(err)
}

// challenged is a problem of an authorization, and not of the account.
func challenged(err error) bool {
	var p acme.Problem
	if !errors.As(err, &p) || p.Type != acme.ProblemTypeUnauthorized {
		return false
	}
	_, ok := p.Resource.(acme.Authorization)
	return ok
}

func clock(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

func nonsense(err error) bool {
	if as[acme.Problem](err) {
		return false // well-formed, if of a kind that we do not know
	}
	return errors.Is(err, errNonsense) || as[*json.SyntaxError](err) || as[*json.UnmarshalTypeError](err) ||
		as[tls.RecordHeaderError](err) ||
		says("unexpected status code")(err) || says("response Content-Type is")(err) || says("unexpected EOF")(err) ||
		says("unexpected end of JSON")(err) || says("malformed HTTP")(err) || says(": HTTP ")(err)
}

func timeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errSilent) || errors.As(err, &t) && t.Timeout()
}

func unreached(err error) bool { return as[*net.OpError](err) }
