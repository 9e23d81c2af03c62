package admin

import (
	"strings"

	"usher.example/balancer/certs"
)

// A certKey is the labels of a certificate.
type certKey struct{ listener, name, source, key string }

// maxCertName bounds a label in octets: a DNS name is no longer, and a path need
// not be shown whole.
const maxCertName = 253

// onDemand is the name of all certificates that clients have asked for: it is
// none of a host.
const onDemand = "on demand"

// A worth is what is told of a certificate.
type worth struct{ notAfter, problem float64 }

// certificates shows when certificates end.
func (c *collector) certificates(e emitter) {
	for k, w := range c.s.certificateEnds() {
		if w.notAfter > 0 {
			e.gauge(certNotAfter, w.notAfter, k.listener, k.name, k.source, k.key)
		}
		e.gauge(certProblem, w.problem, k.listener, k.name, k.source, k.key)
	}
}

// certificateEnds says when certificates end. Several with the same labels, such
// as a file's and the one before it that is still shown, are one series, which shows
// the last that ends; of those that clients have asked for, the first.
func (srv *Server) certificateEnds() map[certKey]worth {
	series := make(map[certKey]worth)
	if srv.o.Keeper == nil {
		return series
	}
	for _, s := range srv.o.Keeper.List() {
		key, _, _ := strings.Cut(s.Key, " ")
		for _, l := range s.Listeners {
			k := certKey{l, certName(s), s.Source, key}
			w := series[k]
			switch end := float64(s.NotAfter.Unix()); {
			case s.NotAfter.IsZero():
			case s.OnDemand && w.notAfter > 0:
				w.notAfter = min(w.notAfter, end)
			default:
				w.notAfter = max(w.notAfter, end)
			}
			w.problem = max(w.problem, truth(s.Problem != ""))
			series[k] = w
		}
	}
	return series
}

// certName is a certificate's first name. It was written by whoever made the
// certificate, so it is made fit for a label.
func certName(s certs.Status) string {
	name := s.From
	if s.OnDemand {
		return onDemand
	}
	if len(s.Names) > 0 {
		name = s.Names[0]
	}
	name = strings.ToValidUTF8(name, "?")
	if len(name) > maxCertName {
		name = strings.ToValidUTF8(name[:maxCertName], "")
	}
	return name
}
