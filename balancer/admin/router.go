package admin

import (
	"net/http"
	"strings"
)

// A Route is one path of the API. Each has one method.
type Route struct {
	Method string
	Path   string
	// Role is the least that may use it. Empty: nobody but who is on the unix
	// socket, since nobody has said in the table of roles what it is.
	Role Role
}

// Routes lists what the API serves, in the order in which it was registered. The
// one handler of everything else is not among them.
func (s *Server) Routes() []Route { return append([]Route(nil), s.known.routes...) }

// A router is a ServeMux that remembers what was registered, and lets only those
// pass who may.
type router struct {
	mux    *http.ServeMux
	routes []Route
}

// Handle registers a handler made by only, or one for a pattern that names its
// method.
func (m *router) Handle(pattern string, h http.Handler) {
	method, path, named := strings.Cut(pattern, " ")
	if !named {
		method, path = "", pattern
	}
	if o, ok := h.(oneMethod); ok {
		method = o.method
	}
	route := Route{method, path, roles[path]}
	m.routes = append(m.routes, route)
	m.mux.Handle(pattern, permit(route.Role, h))
}

// HandleFunc is Handle of a function.
func (m *router) HandleFunc(pattern string, h http.HandlerFunc) { m.Handle(pattern, h) }

// oneMethod lets one method pass.
type oneMethod struct {
	method string
	h      http.HandlerFunc
}

// only lets one method pass.
func only(method string, h http.HandlerFunc) http.Handler { return oneMethod{method, h} }

// ServeHTTP implements http.Handler.
func (o oneMethod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != o.method {
		w.Header().Set("Allow", o.method)
		refuse(w, http.StatusMethodNotAllowed, "the method is not allowed here", "use "+o.method)
		return
	}
	if o.method == http.MethodGet && r.ContentLength != 0 {
		refuse(w, http.StatusBadRequest, "a question has no body", "send none")
		return
	}
	o.h(w, r)
}
