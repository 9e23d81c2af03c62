package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"usher.example/balancer"
	"usher.example/cluster"
)

// Paths of the API. The version changes with what an old client would
// misunderstand; new fields may come at any time.
const (
	StatusPath   = "/v1/status"
	SessionsPath = "/v1/sessions"
	UserPath     = "/v1/user"
	KickPath     = "/v1/kick"
)

const (
	// maxName bounds a user's name in a question, in octets: no login of a
	// longer one is taken (sniff.MaxUser).
	maxName = 512
	// maxBody bounds the body of an order: a name of maxName octets, each
	// written as a \u escape, and the rest of the object around it.
	maxBody = 6*maxName + 256
)

// kicked is the reason in the log line of a session that was ended by an order.
const kicked = "kicked by an administrator"

// NoPin is what a Refusal says when there is no pin to take away.
const NoPin = "the user has no pin"

var errNoPin = errors.New(NoPin)

// Sessions is the answer of SessionsPath.
type Sessions struct {
	Sessions []balancer.SessionInfo `json:"sessions"` // in the order of their beginning
}

// Kick is the order of KickPath. One of the fields is set.
type Kick struct {
	// User ends all sessions of a user, in any spelling of his name.
	User string `json:"user,omitempty"`
	// Session ends the session of that id.
	Session string `json:"session,omitempty"`
}

// Kicked is the answer of KickPath.
type Kicked struct {
	// Kicked is how many sessions were told to end. Zero is no error.
	Kicked int `json:"kicked"`
}

func (s *Server) routes() *router {
	mux := &router{mux: http.NewServeMux()}
	mux.Handle(StatusPath, only(http.MethodGet, s.status))
	mux.Handle(SessionsPath, only(http.MethodGet, s.sessions))
	mux.Handle(UserPath, only(http.MethodGet, s.user))
	mux.Handle(LookupPath, only(http.MethodPost, s.lookup))
	mux.Handle(KickPath, only(http.MethodPost, s.kick))
	s.fleetRoutes(mux)
	s.certificateRoutes(mux)
	s.callerRoutes(mux)
	s.eventRoutes(mux)
	s.explainRoutes(mux)
	s.penaltyRoutes(mux)
	s.checkupRoutes(mux)
	s.boardRoutes(mux)
	pageRoutes(mux.mux)
	mux.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "nothing is served under this path",
			"ask for one of "+strings.Join([]string{StatusPath, SessionsPath, UserPath, KickPath, FleetPath, NodesPath, BackendsPath, CertificatesPath, OpenAPIPath}, ", "))
	})
	return mux
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); ok {
		answer(w, s.Status())
	}
}

func (s *Server) sessions(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r, "user")
	if !ok {
		return
	}
	if q.Has("user") && !named(w, q.Get("user")) {
		return
	}
	answer(w, Sessions{s.o.Node.Sessions(q.Get("user"))})
}

func (s *Server) user(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r, "user", "pool")
	if !ok || !named(w, q.Get("user")) {
		return
	}
	if where, ok := s.whereabouts(w, q.Get("pool"), q.Get("user")); ok {
		answer(w, where)
	}
}

// whereabouts finds a user in a pool, or in the only one; else it refuses.
func (s *Server) whereabouts(w http.ResponseWriter, pool, user string) (cluster.Whereabouts, bool) {
	pool, hint, ok := s.poolOf(w, pool)
	if !ok {
		return cluster.Whereabouts{}, false
	}
	return s.place(w, pool, user, hint)
}

func (s *Server) kick(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	var order Kick
	if !body(w, r, &order) {
		return
	}
	if (order.User == "") == (order.Session == "") {
		refuse(w, http.StatusBadRequest, "one of user and session is needed", `send {"user": "NAME"} or {"session": "ID"}`)
		return
	}
	if !named(w, order.User+order.Session) {
		return
	}
	var n int
	if order.User != "" {
		n = s.o.Node.KickUser(order.User, kicked)
		s.o.Log.Info("kicked", "user", order.User, "sessions", n, "by", giver(r), "event", "user_kicked")
	} else {
		n = s.o.Node.KickSession(order.Session, kicked)
		s.o.Log.Info("kicked", "session", order.Session, "sessions", n, "by", giver(r), "event", "session_kicked")
	}
	answer(w, Kicked{n})
}

// query returns the parameters, if they are among the known ones, each once.
func query(w http.ResponseWriter, r *http.Request, known ...string) (url.Values, bool) {
	hint := "this path takes no parameters"
	if len(known) > 0 {
		hint = "this path takes: " + strings.Join(known, ", ")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, "the parameters are malformed", hint)
		return nil, false
	}
	left := len(q)
	for _, name := range known {
		if len(q[name]) > 1 {
			refuse(w, http.StatusBadRequest, name+" is given twice", "give it once")
			return nil, false
		}
		if q.Has(name) {
			left--
		}
	}
	if left > 0 {
		refuse(w, http.StatusBadRequest, "a parameter is unknown", hint)
		return nil, false
	}
	return q, true
}

// named tells whether name can be a name.
func named(w http.ResponseWriter, name string) bool {
	switch {
	case name == "":
		refuse(w, http.StatusBadRequest, "the user's name is missing", "say user=NAME")
	case len(name) > maxName:
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the name has %d octets, none has more than %d", len(name), maxName), "give the name that was logged in with")
	default:
		return true
	}
	return false
}

// body reads one JSON object and nothing else.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	return bodyWithin(w, r, into, maxBody)
}

func bodyWithin(w http.ResponseWriter, r *http.Request, into any, limit int64) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "the body is not said to be JSON", "set Content-Type: application/json")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		_, err = d.Token()
		if errors.Is(err, io.EOF) {
			sign(r, into)
			return true
		}
		if err == nil {
			err = errors.New("something follows the object")
		}
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		refuse(w, http.StatusRequestEntityTooLarge, "the body is too large", fmt.Sprintf("at most %d octets are read", limit))
		return false
	}
	refuse(w, http.StatusBadRequest, "the body is malformed: "+err.Error(), "send one JSON object with the fields of this path")
	return false
}
