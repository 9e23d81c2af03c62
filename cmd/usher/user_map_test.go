package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// scripted answers on an admin socket in place of a node, by path.
func scripted(t *testing.T, paths map[string]func(body []byte) (int, any)) *operated {
	t.Helper()
	o := &operated{socket: filepath.Join(t.TempDir(), "usher.sock")}
	l, err := net.Listen("unix", o.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do := paths[r.URL.Path]
		if do == nil {
			http.NotFound(w, r)
			return
		}
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body) // a question has none
		status, v := do(body)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	})}
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); running.Wait() })
	return o
}

// One who cannot be moved does not keep the others; he is named at the end, and a
// second run moves only who is not there.
func TestMapGoesOn(t *testing.T) {
	var mu sync.Mutex
	at := map[string]string{"cat": "mail2"}
	var tried []string
	o := scripted(t, map[string]func([]byte) (int, any){
		admin.BackendsPath: func([]byte) (int, any) {
			return 200, admin.Backends{Backends: []cluster.FleetBackend{{Pool: "main", Name: "mail2", State: "up"}}}
		},
		admin.LookupPath: func(body []byte) (int, any) {
			var q admin.Lookup
			_ = json.Unmarshal(body, &q)
			var got admin.Lookups
			mu.Lock()
			defer mu.Unlock()
			for _, u := range q.Users {
				got.Users = append(got.Users, cluster.Whereabouts{User: u, Pin: at[u], Place: at[u]})
			}
			return 200, got
		},
		admin.MovePath: func(body []byte) (int, any) {
			var m admin.Move
			_ = json.Unmarshal(body, &m)
			mu.Lock()
			defer mu.Unlock()
			tried = append(tried, m.User)
			if m.User == "bob" {
				return http.StatusConflict, admin.Refusal{Message: "the user is being moved", Next: "try again when that is over"}
			}
			at[m.User] = m.Backend
			return 200, admin.Done{Done: true}
		},
	})
	file := filepath.Join(t.TempDir(), "moves")
	if err := os.WriteFile(file, []byte("ann mail2\nbob mail2\ncat mail2\ndan mail2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tried []string
		want  string
	}{
		{[]string{"ann", "bob", "dan"}, "2 users moved, 1 there already, 0 under way, 1 failed, 0 not tried\n"},
		{[]string{"bob"}, "0 users moved, 3 there already, 0 under way, 1 failed, 0 not tried\n"},
	} {
		tried = nil
		out, status, err := o.run(t, "user", "move", "--parallel", "1", "--map", file)
		if status != exitFailed || err == nil || !strings.Contains(out, tt.want) || !strings.Contains(out, "usher: bob: usher refused: the user is being moved") {
			t.Errorf("got %d, %v\n%s\nwant %s", status, err, out, tt.want)
		}
		if !slices.Equal(tried, tt.tried) {
			t.Errorf("tried %v, want %v", tried, tt.tried)
		}
	}
}
