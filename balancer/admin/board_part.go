package admin

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/certs"
)

// A nodePart is what a node tells of itself for a board. Counters are since its
// start.
type nodePart struct {
	Version  string   `json:"version"`
	Uptime   float64  `json:"uptime"`
	Stopping bool     `json:"stopping,omitempty"`
	Reasons  []string `json:"reasons,omitempty"`
	Degraded []string `json:"degraded,omitempty"`
	Sessions int      `json:"sessions"`
	Prelogin int      `json:"prelogin"`
	Logins   uint64   `json:"logins"`
	Failures uint64   `json:"failures"`

	CPU      float64 `json:"cpu"` // seconds
	Memory   uint64  `json:"memory"`
	Files    int     `json:"files"`
	MaxFiles int     `json:"max_files"`

	Backends     []backendPart      `json:"backends"`
	Certificates []BoardCertificate `json:"certificates,omitempty"`
}

// A backendPart is what one node has to do with a back end.
type backendPart struct {
	Pool     string  `json:"pool"`
	Name     string  `json:"name"`
	Users    int     `json:"users"`
	Sessions int     `json:"sessions"`
	Logins   uint64  `json:"logins"`
	Failures uint64  `json:"failures"`
	Connect  []count `json:"connect,omitempty"`
	Down     float64 `json:"down,omitempty"` // seconds since the node's own checker saw it fall
	Error    string  `json:"error,omitempty"`
	Damped   bool    `json:"damped,omitempty"`
}

// A count is a cumulative one of a histogram: how many took that many seconds or less.
type count struct {
	Le float64 `json:"le"`
	N  uint64  `json:"n"`
}

const (
	// maxPartBackends bounds what is taken of one node's part: far more than a site
	// has mail servers.
	maxPartBackends = 2048
	// maxBoardCerts are shown, the ones with problems first, then those that end
	// soonest: nobody reads more, and on demand there may be thousands.
	maxBoardCerts = 50
	// maxBoardNames are shown of one certificate.
	maxBoardNames = 4
	// maxReasons of a node are shown.
	maxReasons = 8
	// maxBoardText bounds what others have written, in octets: an error of a dial and
	// what a back end sent with it.
	maxBoardText = 300
	// maxBuckets bounds a histogram from another node, which may be of another build.
	maxBuckets = 64
)

// Part is what this node shows of itself on every node's dashboard, for
// cluster.Fleet.Present.
func (s *Server) Part() ([]byte, error) { return json.Marshal(s.part()) }

func (s *Server) part() nodePart {
	p := nodePart{
		Version: s.o.Version, Uptime: time.Since(s.o.Started).Seconds(), Stopping: s.o.Draining(),
		Reasons: s.o.Reasons(), Degraded: s.o.Degraded(), Backends: []backendPart{},
	}
	p.Sessions, p.Prelogin = s.o.Node.Counts()
	for _, st := range s.o.Node.Stats() {
		for i := range st.Logins {
			p.Logins += st.Logins[i][balancer.LoginOK].Load()
			p.Failures += st.Logins[i][balancer.LoginFailed].Load() + st.Logins[i][balancer.LoginError].Load()
		}
	}
	p.process()
	for _, pool := range s.pools() {
		for _, b := range pool.Backends {
			p.Backends = append(p.Backends, b.part(pool.Name))
		}
	}
	if s.o.Keeper != nil {
		p.Certificates = boardCerts(s.o.Keeper.List())
	}
	return p
}

func (st *BackendStatus) part(pool string) backendPart {
	b := backendPart{Pool: pool, Name: st.Name, Users: st.Users + st.Former, Sessions: st.Sessions, Failures: st.Failures}
	if st.counts != nil {
		b.Logins = st.counts.Logins
		cumulative, all, _ := st.counts.DialTime.Snapshot()
		for _, le := range slices.Sorted(maps.Keys(cumulative)) {
			b.Connect = append(b.Connect, count{le, cumulative[le]})
		}
		if n := len(b.Connect); n > 0 {
			b.Connect[n-1].N = all // what took longer than the last bound is shown as that
		}
	}
	if h := st.Health; h != nil && h.State == "down" && !h.Resting {
		b.Down, b.Error, b.Damped = time.Since(h.Since).Seconds(), clip(h.Error), h.Damped
	}
	return b
}

// process looks at what the process takes. What the kernel does not tell is zero.
func (p *nodePart) process() {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		p.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil { // proc_pid_statm(5): total, resident
		if f := strings.Fields(string(text)); len(f) > 1 {
			pages, _ := strconv.ParseUint(f[1], 10, 64)
			p.Memory = pages * uint64(os.Getpagesize())
		}
	}
	// Since Linux 6.2 its size is how many there are; to list a hundred thousand would
	// not be cheap.
	if st, err := os.Stat("/proc/self/fd"); err == nil {
		p.Files = int(st.Size())
	}
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		p.MaxFiles = int(min(l.Cur, 1<<31))
	}
}

func boardCerts(list []certs.Status) []BoardCertificate {
	out := make([]BoardCertificate, 0, len(list))
	for _, c := range list {
		b := BoardCertificate{ID: c.ID, Listeners: c.Listeners, Source: c.Source, NotAfter: c.NotAfter, Ending: c.Ending, Problem: clip(c.Problem)}
		names := c.Names
		if len(names) == 0 {
			names = []string{certName(c)}
		}
		for _, name := range names[:min(len(names), maxBoardNames)] {
			b.Names = append(b.Names, clip(name))
		}
		b.More = len(names) - len(b.Names)
		out = append(out, b)
	}
	sortCerts(out)
	return out[:min(len(out), maxBoardCerts)]
}

// sortCerts puts those first that somebody should look at.
func sortCerts(list []BoardCertificate) {
	slices.SortStableFunc(list, func(a, b BoardCertificate) int {
		return cmp.Or(cmp.Compare(truth(b.Problem != ""), truth(a.Problem != "")), cmp.Compare(truth(b.Ending), truth(a.Ending)),
			a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.ID, b.ID))
	})
}

// clip makes a text that others wrote fit to be shown.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' ' // what moves the cursor, or turns the direction of writing
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if len(text) > maxBoardText {
		text = strings.ToValidUTF8(text[:maxBoardText], "") + "…"
	}
	return text
}

func clipAll(list []string) []string {
	out := []string{}
	for _, text := range list[:min(len(list), maxReasons)] {
		out = append(out, clip(text))
	}
	return out
}
