package admin

import (
	"fmt"
	"net/http"
	"strings"
)

// A Role says what a caller may do. Each may what those before it may.
type Role string

// Roles of callers.
const (
	// RoleRead may see the node and the fleet, and no name of a user.
	RoleRead Role = "read"
	// RoleOperate may see users, too, and give orders.
	RoleOperate Role = "operate"
	// RoleSocket is who has opened the unix socket. Whoever brings a private key or
	// takes one away needs it.
	RoleSocket Role = "socket"
)

// roles says who may use a path; a path that is not here is for the unix socket
// alone. What names a user, or changes anything, needs RoleOperate.
var roles = map[string]Role{
	WhoamiPath:  RoleRead,
	OpenAPIPath: RoleRead,

	StatusPath:   RoleRead,
	SessionsPath: RoleOperate,
	UserPath:     RoleOperate,
	LookupPath:   RoleOperate,
	KickPath:     RoleOperate,

	BoardPath:   RoleRead,
	CheckupPath: RoleRead,
	EventsPath:  RoleRead, // without users: see mayNameUsers
	ExplainPath: RoleOperate,

	PenaltiesPath:    RoleOperate, // users and addresses are named
	PenaltyClearPath: RoleOperate,

	BackendAddPath:    RoleOperate,
	BackendRemovePath: RoleOperate,
	FleetSessionsPath: RoleOperate,

	FleetPath:        RoleRead,
	NodesPath:        RoleRead,
	BackendsPath:     RoleRead,
	TicketsPath:      RoleOperate,
	NodeDrainPath:    RoleOperate,
	NodeForgetPath:   RoleOperate,
	BackendStatePath: RoleOperate,
	WeightPath:       RoleOperate,
	MovePath:         RoleOperate,
	PinPath:          RoleOperate,
	UnpinPath:        RoleOperate,
	UserKickPath:     RoleOperate,
	UserSessionsPath: RoleOperate,

	CertificatesPath:      RoleRead,
	CertificateRenewPath:  RoleOperate,
	CertificateRemovePath: RoleOperate,
	CertificateExportPath: RoleOperate, // with the key: see exportCertificate
	CertificateImportPath: RoleSocket,  // a private key is in it
}

func (r Role) rank() int {
	switch r {
	case RoleRead:
		return 1
	case RoleOperate:
		return 2
	case RoleSocket:
		return 3
	}
	return 0
}

// may tells whether a caller of role r may do what needs the other.
func (r Role) may(needed Role) bool {
	if needed == "" {
		needed = RoleSocket
	}
	return r.rank() >= needed.rank()
}

// ParseRole returns a role that can be given to a token: read or operate.
func ParseRole(text string) (Role, error) {
	switch r := Role(text); r {
	case RoleRead, RoleOperate:
		return r, nil
	case RoleSocket:
	}
	return "", fmt.Errorf("role %q is none: want read or operate", text)
}

// permit lets those pass who may.
func permit(needed Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callerOf(r.Context())
		if c.Role.may(needed) {
			h.ServeHTTP(w, r)
			return
		}
		if needed == RoleOperate {
			refuse(w, http.StatusForbidden, fmt.Sprintf("this needs the role operate, and %s has the role %s", c.Name, c.Role),
				"use a token or a certificate of the role operate: usher admin token --help")
			return
		}
		refuse(w, http.StatusForbidden, fmt.Sprintf("this is for the unix socket only, and %s has the role %s", c.Name, c.Role),
			"run the command on the node itself")
	})
}

// may lists what a role may use, each as "GET /v1/status".
func (m *router) may(r Role) []string {
	list := []string{}
	for _, route := range m.routes {
		if r.may(route.Role) && strings.HasPrefix(route.Path, apiPrefix) {
			list = append(list, route.Method+" "+route.Path)
		}
	}
	return list
}
