package admin

import (
	"context"
	"net/http"
	"reflect"
)

// WhoamiPath answers who asks, and what he may do.
const WhoamiPath = "/v1/whoami"

// apiPrefix is what the paths of this version begin with.
const apiPrefix = "/v1/"

// Whoami is the answer of WhoamiPath.
type Whoami struct {
	Name   string   `json:"name"`   // as it is in the log, and in by of what he orders
	Role   Role     `json:"role"`   // read, operate or socket
	Via    string   `json:"via"`    // token, certificate or socket
	Users  bool     `json:"users"`  // he may see the names of users
	Orders bool     `json:"orders"` // he may give orders
	Keys   bool     `json:"keys"`   // he may export private keys
	Routes []string `json:"routes"` // what he may use, each as "GET /v1/status"
}

// Ways in which a caller is known.
const (
	viaSocket      = "socket"
	viaToken       = "token"
	viaCertificate = "certificate"
)

// A Caller is who asks.
type Caller struct {
	Name string
	Role Role
	Via  string // token, certificate or socket
}

type callerKey struct{}

func withCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns who asks; nobody knows one who may nothing.
func callerOf(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{Name: "nobody"}
}

// remote tells whether a caller came over TCP. What he says of who he is does not
// count then.
func (c Caller) remote() bool { return c.Via != viaSocket }

// onSocket serves those who have opened the unix socket.
func onSocket(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(withCaller(r.Context(), Caller{peerName(r.Context()), RoleSocket, viaSocket})))
	})
}

func (s *Server) callerRoutes(m *router) {
	m.Handle(WhoamiPath, only(http.MethodGet, s.whoami))
	m.Handle(OpenAPIPath, only(http.MethodGet, s.openAPI))
}

func (s *Server) whoami(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	c := callerOf(r.Context())
	p, known := peerOf(r.Context())
	answer(w, Whoami{
		Name: c.Name, Role: c.Role, Via: c.Via, Users: c.Role.may(RoleOperate), Orders: c.Role.may(RoleOperate),
		Keys: known && p.trusted(), Routes: s.known.may(c.Role),
	})
}

// sign puts the name of a caller who came over TCP into the order's By, whatever he
// wrote there: orders are signed by who gave them. It is done for every order as it is
// read, so that none can be forgotten.
func sign(r *http.Request, order any) {
	c := callerOf(r.Context())
	if !c.remote() {
		return
	}
	v := reflect.ValueOf(order)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return
	}
	if by := v.Elem().FieldByName("By"); by.IsValid() && by.Kind() == reflect.String && by.CanSet() {
		by.SetString(c.Name)
	}
}

// giver is who gives an order that has no By, for the log.
func giver(r *http.Request) string { return callerOf(r.Context()).Name }
