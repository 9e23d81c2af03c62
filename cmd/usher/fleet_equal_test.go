package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// differ says in what the nodes' tables differ: everything that a node tells of its
// table, and where each of the users is.
func (h *healing) differ() string {
	var first map[string]any
	for _, e := range h.nodes {
		seen := map[string]any{}
		var o cluster.Overview
		e.asks(admin.FleetPath, nil, &o)
		for i := range o.Members {
			o.Members[i].State = "" // by gossip, not by the table
		}
		o.Node, o.Applied = "", 0 // grants go on all the time
		seen["fleet"] = o
		for _, user := range h.users {
			var w cluster.Whereabouts
			e.asks(admin.UserPath, url.Values{"user": {user}}, &w)
			w.Stay, w.Holds = "", 0 // of this node's sessions
			seen[user] = w
		}
		if first == nil {
			first = seen
		}
		for what := range seen {
			if !reflect.DeepEqual(seen[what], first[what]) {
				return fmt.Sprintf("%s, by %s: %+v, by %s: %+v", what, h.nodes[0].name, first[what], e.name, seen[what])
			}
		}
	}
	for user, to := range h.to {
		if w := first[user].(cluster.Whereabouts); w.Pin != to || w.Place != to {
			return fmt.Sprintf("%+v, want %s", w, to)
		}
	}
	return ""
}

// asks reads what a node tells an administrator, by its socket.
func (e *edge) asks(path string, q url.Values, into any) {
	e.t.Helper()
	ask := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", e.socket())
		},
	}}
	answer, err := ask.Get("http://usher" + path + "?" + q.Encode())
	if err != nil {
		e.t.Fatalf("%s: %v", e.name, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		e.t.Fatalf("%s: %s: %s", e.name, path, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		e.t.Fatalf("%s: %s: %v", e.name, path, err)
	}
}
