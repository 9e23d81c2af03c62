package health

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// starting is the reason while no condition is known: a process that is asked
// before it has registered what it needs is not ready.
var starting = []Reason{{Starting, "starting"}}

// An Endpoint answers load balancers, keepalived, systemd and people who ask
// how we are. Its methods are safe for concurrent use; the zero value works
// and is not ready until it has a condition.
//
//	GET /healthz, /livez      200: the process answers. Nothing else is looked
//	                          at: restarting us does not mend a back end.
//	GET /readyz               200 "ready", or 503 and why not, a reason a line
//	GET /readyz?verbose       all parts, good ones as well
//	GET /readyz?format=json   {"state": …, "reasons": [{"code": …, "text": …}]}, with
//	                          the same status; also for who accepts application/json
//
// Who is ready and not well says so below "ready": "degraded: " and a reason, a
// line each. The status and the first line are what scripts and balancers go by,
// and they stay as they are.
//
// The answers are not to be stored, and contain nothing of the request.
type Endpoint struct {
	mu         sync.RWMutex // guards what follows; not held while they are asked
	conditions []condition
	marks      []condition // what makes us degraded, not unready
}

// A condition is one part of being ready, or well.
type condition struct {
	name  string
	ready Condition
}

// Add registers a condition: a name, and a function that returns why it does
// not hold, or nothing if it does. The function is called by many
// goroutines at once, for every request, and must not wait for anything.
func (e *Endpoint) Add(name string, ready Condition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conditions = append(e.conditions, condition{name, ready})
}

// AddDegraded registers what may be wrong while we are ready all the same: a
// function as Add takes one.
func (e *Endpoint) AddDegraded(name string, degraded Condition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.marks = append(e.marks, condition{name, degraded})
}

// Degraded returns what is not as it should be though we may be ready, or nothing.
func (e *Endpoint) Degraded() []string { return Texts(e.marked()) }

func (e *Endpoint) marked() []Reason {
	var reasons []Reason
	for _, c := range e.degraded() {
		reasons = append(reasons, c.ready()...)
	}
	return reasons
}

// Verdict sums up what we are.
func (e *Endpoint) Verdict() Verdict { return verdictOf(e.unready(), e.marked()) }

func (e *Endpoint) degraded() []condition {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.marks // only ever appended to
}

// Reasons returns why we are not ready, in the order of registration, or
// nothing if we are.
func (e *Endpoint) Reasons() []string { return Texts(e.unready()) }

func (e *Endpoint) unready() []Reason {
	var reasons []Reason
	e.ask(func(_ string, why []Reason) { reasons = append(reasons, why...) })
	return reasons
}

// ask asks all conditions.
func (e *Endpoint) ask(tell func(name string, reasons []Reason)) {
	e.mu.RLock()
	conditions := e.conditions // only ever appended to
	e.mu.RUnlock()
	if len(conditions) == 0 {
		tell(string(Starting), starting)
	}
	for _, c := range conditions {
		tell(c.name, c.ready())
	}
}

// Handler serves the three paths to GET and HEAD. It is no http.ServeMux,
// which would answer some requests by repeating their path.
func (e *Endpoint) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var serve http.HandlerFunc
		switch r.URL.Path {
		case "/healthz", "/livez":
			serve = e.Live
		case "/readyz":
			serve = e.Ready
		default:
			answer(w, http.StatusNotFound, []string{"not found"})
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			answer(w, http.StatusMethodNotAllowed, []string{"method not allowed"})
			return
		}
		serve(w, r)
	})
}

// Live answers that the process lives.
func (e *Endpoint) Live(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, []string{"alive"})
}

// Ready answers whether we are ready, and why not.
func (e *Endpoint) Ready(w http.ResponseWriter, r *http.Request) {
	if wantsJSON(r) {
		e.readyJSON(w)
		return
	}
	status := http.StatusOK
	var reasons, parts []string
	note := func(sign, name string, why []Reason) {
		if len(why) == 0 {
			parts = append(parts, "[+] "+name)
		}
		for _, reason := range why {
			parts = append(parts, sign+" "+name+": "+reason.Text)
		}
	}
	e.ask(func(name string, why []Reason) {
		reasons = append(reasons, Texts(why)...)
		note("[-]", name, why)
	})
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	} else {
		reasons = []string{"ready"}
	}
	for _, c := range e.degraded() {
		why := c.ready()
		note("[~]", c.name, why)
		if status == http.StatusOK { // who is not ready has told what matters
			for _, reason := range why {
				reasons = append(reasons, "degraded: "+reason.Text)
			}
		}
	}
	if r.URL.Query().Has("verbose") {
		answer(w, status, parts)
		return
	}
	answer(w, status, reasons)
}

// wantsJSON says whether a question asks for codes. Who accepts anything, as curl
// does, gets the text.
func wantsJSON(r *http.Request) bool {
	return r.URL.Query().Get("format") == "json" || strings.HasPrefix(r.Header.Get("Accept"), "application/json")
}

// readyJSON answers with codes.
func (e *Endpoint) readyJSON(w http.ResponseWriter) {
	v := e.Verdict()
	status := http.StatusOK
	if !v.State.Takes() {
		status = http.StatusServiceUnavailable
	}
	head(w, "application/json", status)
	// An error means that the one who asked has gone.
	_ = json.NewEncoder(w).Encode(v)
}

func head(w http.ResponseWriter, kind string, status int) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
}

// answer writes lines. A control character in one would make two of it, or
// worse, so there are none.
func answer(w http.ResponseWriter, status int, lines []string) {
	head(w, "text/plain; charset=utf-8", status)
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(strings.Map(printable, line))
		text.WriteByte('\n')
	}
	// An error means that the one who asked has gone.
	_, _ = io.WriteString(w, text.String())
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}
