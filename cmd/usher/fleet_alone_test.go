package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"usher.example/cluster"
)

// portNobody and the next are where nobody listens.
const portNobody = 1

// views are the states of the back ends of the first pool in the view.
func views(pools []cluster.PoolStatus) string {
	if len(pools) == 0 {
		return ""
	}
	var list []string
	for _, b := range pools[0].Backends {
		list = append(list, b.State)
	}
	return strings.Join(list, " ")
}

// TestFleetAlone has one node of four that cannot reach the servers, as its own
// file has other ports for them; it does not vote, or it might lead by that file. With one of two it goes on: that server's users are
// told to come again, which at another node is enough, and nobody is placed anew.
// With both it says that it is not ready.
func TestFleetAlone(t *testing.T) {
	t.Parallel()
	const users = 6
	// unlucky is how many come at most until one belongs to a server that is not reached.
	const unlucky = 40
	for _, cut := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d of 2", cut), func(t *testing.T) {
			r := newRig(t, rigOptions{health: "interval = \"1s\"\nfast_interval = \"500ms\"\ntimeout = \"1s\"\n"})
			alone := r.add("edge-4")
			for i := range cut {
				be := &alone.pools[0].backends[i]
				be.imap, be.pop3 = hostPort(be.host, portNobody), hostPort(be.host, portNobody+1)
			}
			for _, e := range r.nodes {
				e.begin()
			}
			for _, e := range r.nodes[:3] {
				e.ready()
			}
			admin := r.administrator("")
			eventually(t, "both servers are up in the view", func() bool { return views(admin.Status()) == "up up" })
			if cut == 2 {
				eventually(t, "the node says that it is alone", func() bool {
					status, text := alone.p.ask("/readyz")
					return status == http.StatusServiceUnavailable && strings.Contains(text, "cannot be reached from this node")
				})
			} else {
				alone.ready()
			}
			refused, came := 0, 0
			for i := 0; i < users || refused == 0 && i < unlucky; i++ {
				came++
				user := fmt.Sprintf("user%02d", i)
				r.session(r.nodes[0], user)
				at := r.last(user, 1)
				ok, verdict := alone.tries(user)
				if index(at) >= cut {
					if !ok || r.last(user, 2) != at {
						t.Errorf("%s, who is at %s: %q", user, at, verdict)
					}
					continue
				}
				refused++
				if ok || !strings.Contains(verdict, "[UNAVAILABLE]") {
					t.Errorf("%s, who is at %s: %q", user, at, verdict)
				}
				if ok, verdict := r.nodes[1].tries(user); !ok || r.last(user, 2) != at {
					t.Errorf("%s, who is at %s, by another node: %q", user, at, verdict)
				}
			}
			if refused == 0 {
				t.Error("nobody was at a server that the node does not reach: the test shows nothing")
			}
			if v := views(admin.Status()); v != "up up" {
				t.Errorf("the view is %s", v)
			}
			r.checkPresence(came)
		})
	}
}
