package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// A browser is not to be led here by DNS: a page of somebody else, whose name its owner
// has point to this address after it was loaded, is of the same origin as the answers
// that it gets. What gives it away is the name that the browser asks for.

// ownHost lets pass who has asked for this node by one of its own names, and tells others
// how to.
func ownHost(h http.Handler, own func(r *http.Request, name string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !own(r, hostName(r.Host)) {
			refuse(w, http.StatusMisdirectedRequest, "this node is not asked under that name, to which anybody could have a browser led", // RFC 9110 §15.5.20
				"ask for localhost, or for the address itself")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// hostName is the name or the address in a Host header, without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// ownSocketHost tells whether a name can be meant for the unix socket: one of the machine
// itself, if ssh forwards the socket to a port there, or one that DNS does not have, as
// programs write that have to write one.
func ownSocketHost(_ *http.Request, name string) bool {
	return loopbackName(name) || plainName(name)
}

// ownPublicHost tells whether a name can be meant for the address of Public. An address
// is nobody's who could have it point elsewhere. Where the address is reached over the
// network, /metrics and health are for programs that know it by any name in DNS; what they
// are told any other program there is told too.
func (s *Server) ownPublicHost(r *http.Request, name string) bool {
	if _, err := netip.ParseAddr(name); err == nil || ownSocketHost(r, name) || slices.ContainsFunc(s.o.Hosts, func(own string) bool { return hostName(own) == name }) {
		return true
	}
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if ap, err := netip.ParseAddrPort(at.String()); err == nil && !ap.Addr().Unmap().IsLoopback() {
			return slices.Contains(forPrograms, r.URL.Path)
		}
	}
	return false
}

// forPrograms are the paths of Public that programs ask over the network.
var forPrograms = []string{"/metrics", "/healthz", "/livez", "/readyz"}

// loopbackName tells whether a name is a loopback address, or localhost, which browsers
// let nobody take over by DNS (RFC 6761 §6.3).
func loopbackName(name string) bool {
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback()
}

// plainName tells whether a name is one without a dot, or none, as of HTTP/1.0.
func plainName(name string) bool { return !strings.ContainsAny(name, ".:") }
