package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/forward"
	"usher.example/cluster"
	"usher.example/health"
)

// A stage is a fleet as a test wants it to look. What the handlers make of it is real.
type stage struct {
	fakeFleet
	mu     sync.Mutex // guards what follows
	view   cluster.Overview
	absent []string // voters
	parts  map[string]map[string]any
	drains map[string]bool
	placed []cluster.FleetBackend
	asked  int
	raw    map[string]string // parts that are none
	events func() []admin.BoardEvent
}

func (s *stage) Overview() cluster.Overview {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

func (s *stage) MissingVoters() []string { return s.absent }

func (s *stage) Parts() (map[string]cluster.Part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	all := make(map[string]cluster.Part)
	for node, p := range s.parts {
		b, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		all[node] = cluster.Part{Drained: s.drains[node], Shown: b}
		if raw, odd := s.raw[node]; odd {
			all[node] = cluster.Part{Shown: json.RawMessage(raw)}
		}
		p["logins"] = p["logins"].(int) + 24
		p["uptime"] = p["uptime"].(float64) + 2
		p["cpu"] = p["cpu"].(float64) + 0.3
	}
	return all, errors.New("those that are left out")
}

func (s *stage) Placed() []cluster.FleetBackend {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.placed)
}

// Where, Status and Stats implement admin.Places.
func (s *stage) Where(string, string) (cluster.Whereabouts, error) {
	return cluster.Whereabouts{}, cluster.ErrNoPool
}

func (s *stage) Status() []cluster.PoolStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pools []cluster.PoolStatus
	for _, b := range s.placed {
		if !slices.ContainsFunc(pools, func(p cluster.PoolStatus) bool { return p.Name == b.Pool }) {
			usable := 0
			for _, o := range s.placed {
				if o.Pool == b.Pool && o.Up && o.State == "up" {
					usable++
				}
			}
			pools = append(pools, cluster.PoolStatus{Name: b.Pool, Storage: "shared", Usable: usable})
		}
	}
	return pools
}

func (s *stage) Stats() *cluster.Stats { return new(cluster.Stats) }

// backend changes one.
func (s *stage) backend(name string, change func(*cluster.FleetBackend)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.placed {
		if s.placed[i].Name == name {
			change(&s.placed[i])
		}
	}
}

// newStage is a fleet of so many nodes, "alone" if there is one, and back ends that all
// are well.
func newStage(nodes, backends int) *stage {
	s := &stage{view: cluster.Overview{Fleet: "mail", Node: "edge-1", Leader: "edge-2", Quorum: true, Pins: 3}, parts: map[string]map[string]any{}, drains: map[string]bool{}}
	if nodes == 1 {
		s.view.Fleet, s.view.Leader = "", "edge-1"
	}
	for i := range backends {
		s.placed = append(s.placed, cluster.FleetBackend{
			Pool: "main", Name: fmt.Sprintf("mail%d", i+1), Address: fmt.Sprintf("mail%d.internal.example.org", i+1), Weight: 100 + 50*(i%3), Admin: "active", Up: true, State: "up",
		})
	}
	ends := time.Now().Add(58*24*time.Hour + time.Hour)
	for i := range nodes {
		name := fmt.Sprintf("edge-%d", i+1)
		s.view.Members = append(s.view.Members, cluster.NodeState{Node: name, Address: fmt.Sprintf("10.0.0.%d:2946", i+1), Role: "voter", State: "alive", Counted: true, Leads: name == s.view.Leader})
		var rows []map[string]any
		for j, b := range s.placed {
			rows = append(rows, map[string]any{
				"pool": b.Pool, "name": b.Name, "users": 40 + (7*i+13*j)%17, "sessions": 60 + (5*i+11*j)%23, "logins": 1000 + j, "failures": 2,
				"connect": []map[string]any{{"le": 0.005, "n": 700}, {"le": 0.01, "n": 900}, {"le": 0.025, "n": 990}, {"le": 0.05, "n": 1000}},
			})
		}
		s.parts[name] = map[string]any{
			"version": "1.4.0", "uptime": 86400.0 * 12, "sessions": 220, "prelogin": 3, "logins": 10000, "failures": 120, "cpu": 100.0,
			"memory": 83 << 20, "files": 612, "max_files": 524288, "backends": rows,
			"certificates": []map[string]any{{
				"id": "ab12cd", "names": []string{"mail.example.org", "imap.example.org"}, "listeners": []string{"imaps", "pop3s"}, "source": "acme", "not_after": ends,
			}},
		}
	}
	return s
}

// failing is a fleet on a bad night.
func failing() *stage {
	s := newStage(4, 5)
	ends := time.Now().Add(100 * time.Hour)
	s.absent = []string{"edge-3"}
	s.view.Members[2].State = "absent"
	delete(s.parts, "edge-3")
	delete(s.parts, "edge-4") // seen and silent
	s.backend("mail2", func(b *cluster.FleetBackend) { b.Up, b.State = false, "down" })
	s.backend("mail4", func(b *cluster.FleetBackend) {
		b.Admin, b.State, b.By, b.Since = "drain", "drain", "ann", time.Now().Unix()-4000
	})
	s.backend("mail5", func(b *cluster.FleetBackend) { b.Pool, b.Up, b.State = "archive", false, "down" })
	for _, p := range s.parts {
		rows := p["backends"].([]map[string]any)
		rows[4]["pool"] = "archive"
		for _, i := range []int{1, 4} {
			rows[i]["down"], rows[i]["error"] = 754.0, "dial back end mail: dial tcp 10.1.0.2:143: connect: connection refused"
		}
		certs := p["certificates"].([]map[string]any)
		p["certificates"] = append(certs, map[string]any{
			"id": "00ff00", "names": []string{"old.example.org"}, "listeners": []string{"imaps"}, "source": "file", "not_after": ends, "ending": true,
		})
	}
	s.parts["edge-1"]["degraded"] = []string{"certificates: old.example.org ends soon"}
	return s
}

// server is the stage's admin.Server.
func (s *stage) server() *admin.Server { return s.serverOf() }

// serverOf is the stage's server on a machine that has names.
func (s *stage) serverOf(hosts ...string) *admin.Server {
	return admin.New(admin.Options{
		Hosts:   hosts,
		Version: "1.4.0", Node: balancer.New(balancer.Deps{Engine: new(forward.Copy), Placer: nil}), Places: s, Fleet: s, Parts: s.Parts, Placed: s.Placed,
		RecentEvents: s.events, Health: func() []admin.BackendHealth { return []admin.BackendHealth{{Status: health.Status{}}} },
	})
}

// open serves h; it ends with the test.
func open(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

// snapshot asks for one Board.
func snapshot(t *testing.T, h http.Handler) admin.Board {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://usher"+admin.BoardPath, http.NoBody)
	r.Header.Set("Accept", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var b admin.Board
	if err := json.Unmarshal(w.Body.Bytes(), &b); w.Code != http.StatusOK || err != nil {
		t.Fatalf("got %d, %v: %s", w.Code, err, w.Body)
	}
	return b
}
