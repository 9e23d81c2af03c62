package admin

import (
	"net/http"
	"time"

	"usher.example/health"
)

// CheckupPath is where a Checkup is, on the unix socket and, since it names no
// user, on the loopback address.
const CheckupPath = "/v1/checkup"

// A Checkup is what monitoring wants to know of a node, in numbers.
type Checkup struct {
	Version string `json:"version"`
	health.Verdict
	Sessions    int             `json:"sessions"` // of this node, logged in or not
	Prelogin    int             `json:"prelogin"` // of them, those that have not logged in
	MaxSessions int             `json:"max_sessions"`
	Backends    int             `json:"backends"`      // configured, in all pools
	Down        []string        `json:"backends_down"` // pool/back end: those that serve nobody
	Certificate *CertificateEnd `json:"certificate,omitempty"`
	Problems    int             `json:"certificate_problems"` // certificates that need somebody
	Fleet       *FleetCheckup   `json:"fleet,omitempty"`      // none for a node that is alone
	Config      bool            `json:"config_ok"`            // the last reload went well
}

// A CertificateEnd is the certificate that ends first, of those that nothing
// replaces.
type CertificateEnd struct {
	Name     string    `json:"name"`
	NotAfter time.Time `json:"not_after"`
}

// FleetCheckup is the fleet as the node sees it.
type FleetCheckup struct {
	Name     string   `json:"name"`
	Nodes    int      `json:"nodes"`
	Alive    int      `json:"alive"`
	Quorum   bool     `json:"quorum"`
	Isolated bool     `json:"isolated"`
	Missing  []string `json:"missing_voters"`
}

func (s *Server) checkupRoutes(mux *router) {
	mux.Handle(CheckupPath, only(http.MethodGet, s.checkup))
}

func (s *Server) checkup(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); ok {
		answer(w, s.Checkup())
	}
}

// Checkup returns the node as it is now.
func (s *Server) Checkup() Checkup {
	c := Checkup{
		Version: s.o.Version, Verdict: s.o.Verdict(), MaxSessions: s.o.Node.Bound().Sessions,
		Down: []string{}, Config: s.o.Reloads.Status().Successful,
	}
	c.Sessions, c.Prelogin = s.o.Node.Counts()
	for _, p := range s.o.Places.Status() {
		for _, b := range p.Backends {
			if b.State == "removed" {
				continue
			}
			c.Backends++
			if b.State == "down" {
				c.Down = append(c.Down, p.Name+"/"+b.Name)
			}
		}
	}
	for k, w := range s.certificateEnds() {
		if w.problem > 0 {
			c.Problems++
		}
		end := time.Unix(int64(w.notAfter), 0).UTC()
		if w.notAfter > 0 && (c.Certificate == nil || end.Before(c.Certificate.NotAfter)) {
			c.Certificate = &CertificateEnd{k.name, end}
		}
	}
	if f := s.o.Fleet; f != nil {
		if o := f.Overview(); o.Fleet != "" {
			c.Fleet = &FleetCheckup{Name: o.Fleet, Nodes: len(o.Members), Quorum: o.Quorum, Isolated: o.Isolated, Missing: append([]string{}, f.MissingVoters()...)}
			for _, m := range o.Members {
				if m.State == "alive" {
					c.Fleet.Alive++
				}
			}
		}
	}
	return c
}
