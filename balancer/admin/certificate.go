package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"usher.example/balancer/certs"
	"usher.example/cluster"
)

// Paths of the API that are about certificates.
const (
	CertificatesPath      = "/v1/certificates"
	CertificateRenewPath  = "/v1/certificate/renew"
	CertificateImportPath = "/v1/certificate/import"
	CertificateRemovePath = "/v1/certificate/remove"
	CertificateExportPath = "/v1/certificate/export"
)

const (
	// RenewTime is how long a renewal may take: a CA that validates by DNS looks
	// after minutes, and there may be several to ask.
	RenewTime = 10 * time.Minute

	// storeTime is how long the fleet may take to store something.
	storeTime = 20 * time.Second

	// maxImport bounds the body of an import: each octet of PEM is one in JSON
	// but for ends of lines, which are two.
	maxImport = 2*(certs.MaxCertificatePEM+certs.MaxKeyPEM) + 4096
)

// Certificates is what is asked of whoever keeps certificates, as certs.Keeper
// does. Its methods are called by many goroutines.
type Certificates interface {
	List() []certs.Status
	// Renew takes minutes. Its errors, and those below, are certs.ErrUnknown,
	// certs.ErrSeveral, certs.ErrNotHere, certs.ErrUnfit, those of a fleet, and
	// others that a later try may not meet.
	Renew(ctx context.Context, name string, force bool) error
	Import(ctx context.Context, chain, key []byte) (certs.Import, error)
	Remove(ctx context.Context, name string) (certs.Status, error)
	Export(name string, key bool) (certs.Export, error)
}

// A Certificate is one that clients are shown, or the want of one.
type Certificate struct {
	ID          string    `json:"id"` // empty: there is none yet
	Names       []string  `json:"names"`
	Listeners   []string  `json:"listeners"`
	Source      string    `json:"source"` // file, acme or imported
	From        string    `json:"from"`   // the file, the CA or the place in the store
	Key         string    `json:"key"`
	Issuer      string    `json:"issuer"`
	Serial      string    `json:"serial"`
	Fingerprint string    `json:"sha256"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Ending      bool      `json:"ending"`            // it ends soon, or has, and no other replaces it
	RenewAt     time.Time `json:"renew_at,omitzero"` // none: usher does not renew it
	Problem     string    `json:"problem,omitempty"` // why the newest try failed, and what to do
	Chain       []Link    `json:"chain"`
}

// A Link is one certificate of a chain.
type Link struct {
	Subject  string    `json:"subject"`
	Issuer   string    `json:"issuer"`
	NotAfter time.Time `json:"not_after"`
}

// CertificateList is the answer of CertificatesPath.
type CertificateList struct {
	Certificates []Certificate `json:"certificates"`
}

// CertificateRenew is the order of CertificateRenewPath. The answer is Done.
type CertificateRenew struct {
	Name  string `json:"name"` // one of its names, or its ID
	Force bool   `json:"force,omitempty"`
	By    string `json:"by,omitempty"`
}

// CertificateImport is the order of CertificateImportPath.
type CertificateImport struct {
	Certificate string `json:"certificate"` // with its chain, PEM
	Key         string `json:"key"`         // PEM
	By          string `json:"by,omitempty"`
}

// CertificateImported is the answer of CertificateImportPath.
type CertificateImported struct {
	Certificate Certificate `json:"certificate"`
	Warnings    []string    `json:"warnings"` // it is served all the same
}

// CertificateRemove is the order of CertificateRemovePath. The answer is the
// Certificate that was removed.
type CertificateRemove struct {
	Name string `json:"name"`
	By   string `json:"by,omitempty"`
}

// CertificateExport is the order of CertificateExportPath.
type CertificateExport struct {
	Name string `json:"name"`
	Key  bool   `json:"key,omitempty"`
	By   string `json:"by,omitempty"`
}

// CertificateExported is the answer of CertificateExportPath.
type CertificateExported struct {
	ID          string   `json:"id"`
	Names       []string `json:"names"`
	Kind        string   `json:"kind"`        // of its key, such as "ECDSA P-256"
	Several     bool     `json:"several"`     // another one is for its first name, too
	Certificate string   `json:"certificate"` // PEM
	Chain       string   `json:"chain"`       // what follows it, PEM
	Key         string   `json:"key,omitempty"`
}

func (s *Server) certificateRoutes(mux *router) {
	route := func(path, method string, h http.HandlerFunc) {
		mux.Handle(path, only(method, func(w http.ResponseWriter, r *http.Request) {
			if s.o.Keeper == nil {
				refuse(w, http.StatusNotImplemented, "this node keeps no certificates", "ask one that has listeners; a witness has none")
				return
			}
			h(w, r)
		}))
	}
	route(CertificatesPath, http.MethodGet, s.certificates)
	route(CertificateRenewPath, http.MethodPost, s.renewCertificate)
	route(CertificateImportPath, http.MethodPost, s.importCertificate)
	route(CertificateRemovePath, http.MethodPost, s.removeCertificate)
	route(CertificateExportPath, http.MethodPost, s.exportCertificate)
}

func (s *Server) certificates(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	list := CertificateList{[]Certificate{}}
	for _, st := range s.o.Keeper.List() {
		list.Certificates = append(list.Certificates, shown(&st))
	}
	answer(w, list)
}

// shown is a certificate as it is answered: lists are lists, never null.
func shown(st *certs.Status) Certificate {
	c := Certificate{
		ID: st.ID, Names: append([]string{}, st.Names...), Listeners: append([]string{}, st.Listeners...),
		Source: st.Source, From: st.From, Key: st.Key, Issuer: st.Issuer, Serial: st.Serial, Fingerprint: st.Fingerprint,
		NotBefore: st.NotBefore, NotAfter: st.NotAfter, Ending: st.Ending, RenewAt: st.RenewAt, Problem: st.Problem, Chain: []Link{},
	}
	for _, l := range st.Chain {
		c.Chain = append(c.Chain, Link{l.Subject, l.Issuer, l.NotAfter})
	}
	return c
}

func (s *Server) renewCertificate(w http.ResponseWriter, r *http.Request) {
	var o CertificateRenew
	if !order(w, r, &o) || !thing(w, "name", o.Name) {
		return
	}
	who, ok := by(w, o.By)
	if !ok {
		return
	}
	// The bound of a connection is for answers that are there at once. An error
	// means that this one has none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(RenewTime + answerTime))
	ctx, cancel := context.WithTimeout(r.Context(), RenewTime)
	defer cancel()
	err := s.o.Keeper.Renew(ctx, o.Name, o.Force)
	s.outcome(err, "certificate renewed by order", "the order to renew a certificate came to nothing", "name", o.Name, "force", o.Force, "by", who, "event", outcomeOf(err, "certificate_renew_ordered", "certificate_renew_failed"))
	if err != nil {
		s.certificateError(w, err)
		return
	}
	answer(w, Done{Done: true})
}

func (s *Server) importCertificate(w http.ResponseWriter, r *http.Request) {
	var o CertificateImport
	if _, ok := query(w, r); !ok || !bodyWithin(w, r, &o, maxImport) {
		return
	}
	who, ok := by(w, o.By)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTime)
	defer cancel()
	result, err := s.o.Keeper.Import(ctx, []byte(o.Certificate), []byte(o.Key))
	s.outcome(err, "certificate imported", "the import of a certificate came to nothing", "names", result.Status.Names, "id", result.Status.ID, "by", who, "event", outcomeOf(err, "certificate_imported", "certificate_import_failed"))
	if err != nil {
		s.certificateError(w, err)
		return
	}
	answer(w, CertificateImported{shown(&result.Status), append([]string{}, result.Warnings...)})
}

func (s *Server) removeCertificate(w http.ResponseWriter, r *http.Request) {
	var o CertificateRemove
	if !order(w, r, &o) || !thing(w, "name", o.Name) {
		return
	}
	who, ok := by(w, o.By)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTime)
	defer cancel()
	gone, err := s.o.Keeper.Remove(ctx, o.Name)
	s.outcome(err, "certificate removed", "the order to remove a certificate came to nothing", "name", o.Name, "id", gone.ID, "by", who, "event", outcomeOf(err, "certificate_removed", "certificate_remove_failed"))
	if err != nil {
		s.certificateError(w, err)
		return
	}
	answer(w, shown(&gone))
}

func (s *Server) exportCertificate(w http.ResponseWriter, r *http.Request) {
	var o CertificateExport
	if !order(w, r, &o) || !thing(w, "name", o.Name) {
		return
	}
	who, ok := by(w, o.By)
	if !ok {
		return
	}
	p, known := peerOf(r.Context())
	if o.Key && (!known || !p.trusted()) {
		s.o.Log.Warn("the export of a private key was refused", "event", "key_export_refused", "name", o.Name, "by", who, "peer", giver(r))
		refuse(w, http.StatusForbidden, "private keys are given on the unix socket, to root and to usher's own user only", "run this as root on the node itself, or export without the key")
		return
	}
	e, err := s.o.Keeper.Export(o.Name, o.Key)
	s.outcome(err, "certificate exported", "the export of a certificate came to nothing", "name", o.Name, "id", e.Status.ID, "with_key", o.Key, "by", who, "peer", peerName(r.Context()), "event", outcomeOf(err, "certificate_exported", "certificate_export_failed"))
	if err != nil {
		s.certificateError(w, err)
		return
	}
	answer(w, CertificateExported{
		ID: e.Status.ID, Names: append([]string{}, e.Status.Names...), Kind: e.Status.Key, Several: e.Several,
		Certificate: string(e.Certificate), Chain: string(e.Chain), Key: string(e.Key),
	})
}

// outcome logs what became of an order.
func (s *Server) outcome(err error, done, failed string, attrs ...any) {
	if err != nil {
		s.o.Log.Warn(failed, append(attrs, "err", err)...)
		return
	}
	s.o.Log.Info(done, attrs...)
}

// certificateError answers an order that came to nothing.
func (s *Server) certificateError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, certs.ErrUnknown):
		refuse(w, http.StatusNotFound, err.Error(), "usher cert list shows which there are")
	case errors.Is(err, certs.ErrSeveral):
		refuse(w, http.StatusBadRequest, err.Error(), "usher cert show tells them apart")
	case errors.Is(err, certs.ErrUnfit):
		refuse(w, http.StatusBadRequest, err.Error(), "nothing was changed")
	case errors.Is(err, certs.ErrNotHere):
		refuse(w, http.StatusBadRequest, err.Error(), "files are read again when they change, and with a reload")
	case s.o.Fleet != nil && (errors.Is(err, cluster.ErrNoLeader) || errors.Is(err, cluster.ErrIsolated)):
		write(w, http.StatusServiceUnavailable, Refusal{err.Error(), s.quorumHint(), true})
	default:
		refuse(w, http.StatusInternalServerError, err.Error(), "what is served is not touched by that; try again when it is mended, and look into the log")
	}
}
