package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// looks answers the looks at something that is being emptied, one after the other.
func looks(t *testing.T, path, order string, answers ...any) *operated {
	t.Helper()
	n := 0 // the command asks one question after the other
	return scripted(t, map[string]func([]byte) (int, any){
		order: func([]byte) (int, any) { return 200, admin.Done{Pending: "not within 20s"} },
		path: func([]byte) (int, any) {
			a := answers[min(n, len(answers)-1)]
			n++
			if interrupt, ok := a.(func() any); ok {
				a = interrupt()
			}
			return 200, a
		},
	})
}

func backendWith(users int, state string, missing ...string) admin.Backends {
	return admin.Backends{
		Backends: []cluster.FleetBackend{{Pool: "main", Name: "mail1", Admin: state, State: "drain", Users: users, Holds: 2 * users}},
		Missing:  missing,
	}
}

func nodeWith(holds int, answered, drained bool) admin.Nodes {
	return admin.Nodes{Nodes: []cluster.FleetNode{{
		NodeState: cluster.NodeState{Node: "u1", State: "alive"}, Holds: holds, Answered: answered, Drained: drained,
	}}}
}

// The wait for a drain says what is left, and ends when nobody is.
func TestWaitForDrain(t *testing.T) {
	interrupt := func() any {
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
		return backendWith(3, "drain")
	}
	const backends, state = admin.BackendsPath, admin.BackendStatePath
	for _, tt := range []struct {
		name, args, path, order string
		answers                 []any
		status                  int
		want                    []string
	}{
		{
			"to the end", "backend drain mail1 --wait", backends, state,
			[]any{backendWith(3, "drain"), backendWith(1, "drain"), backendWith(0, "drain", "node u2: it cannot be seen"), backendWith(0, "drain")},
			0,
			[]string{"not all nodes go by it yet: not within 20s\n", "3 users left, 6 sessions\n", "no user is left\n"},
		},
		{
			"interrupted", "backend evacuate mail1 --wait", backends, state,
			[]any{backendWith(3, "evacuate"), interrupt, backendWith(3, "evacuate")},
			exitTemporary,
			[]string{"only the wait was interrupted: the evacuation goes on; usher backend list shows who is left, usher backend activate mail1 takes it back"},
		},
		{
			"taken back", "backend drain mail1 --wait", backends, state,
			[]any{backendWith(3, "drain"), backendWith(3, "active")},
			exitTemporary,
			[]string{"is active again"},
		},
		{
			"a node", "node drain u1 --wait", admin.NodesPath, admin.NodeDrainPath,
			[]any{nodeWith(7, true, true), nodeWith(0, false, false), nodeWith(0, true, true)},
			0,
			[]string{"7 sessions left\n", "no session is left\n"},
		},
		{
			"a node that was restarted", "node drain u1 --wait", admin.NodesPath, admin.NodeDrainPath,
			[]any{nodeWith(7, true, true), nodeWith(0, true, false)},
			exitTemporary,
			[]string{"is drained no more: it was restarted"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := looks(t, tt.path, tt.order, tt.answers...)
			out, status, err := o.run(t, strings.Fields(tt.args)...)
			all := out
			if err != nil {
				all += err.Error()
			}
			if status != tt.status {
				t.Errorf("got status %d, want %d: %s", status, tt.status, all)
			}
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in\n%s", want, all)
				}
			}
		})
	}
}

func TestRemaining(t *testing.T) {
	for _, tt := range []struct {
		what  string
		gone  int
		since time.Duration
		left  left
		want  string
	}{
		{"user", 0, time.Second, left{users: 1, sessions: 2}, "1 user left, 2 sessions"},
		{"user", 40, 2 * time.Second, left{users: 600, sessions: 900}, "600 users left, 900 sessions; 20.0 a second, 30s to go at that rate"},
		{"session", 3, 6 * time.Second, left{users: 1, sessions: 5}, "5 sessions left; 0.5 a second, 10s to go at that rate"},
		{"session", -1, time.Second, left{sessions: 5, unheard: "node u2"}, "5 sessions left; not counted: node u2"},
	} {
		if got := remaining(tt.what, tt.gone, tt.since, tt.left); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
