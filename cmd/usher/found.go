package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/cluster"
	"usher.example/cluster/place"
)

// A whose asks for names of users by their keys.
type whose struct {
	Pool string      `json:"pool"`
	Keys []place.Key `json:"keys"`
}

// answerSessions has this node answer what others ask about its sessions.
func (n *node) answerSessions() {
	n.fleet.Answer(namesTopic, func(_ context.Context, question json.RawMessage) (any, error) {
		var q whose
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, err
		}
		if len(q.Keys) > admin.MaxSample {
			return nil, fmt.Errorf("it was asked for %d names, at most %d are possible", len(q.Keys), admin.MaxSample)
		}
		return n.namesOf(q), nil
	})
	n.fleet.Answer(findTopic, func(_ context.Context, question json.RawMessage) (any, error) {
		var q balancer.Search
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, err
		}
		if !q.Known() {
			return nil, errors.New("it was asked for an order of sessions that it does not know")
		}
		var f admin.FleetFound
		f.Sessions, f.All = n.server.Find(q)
		return f, nil
	})
}

// namesOf finds the names of users who are live here.
func (n *node) namesOf(q whose) map[place.Key]string {
	wanted := make(map[place.Key]bool, len(q.Keys))
	for _, k := range q.Keys {
		wanted[k] = true
	}
	names := make(map[place.Key]string)
	for _, i := range n.server.Sessions("") {
		if i.Pool != q.Pool || i.User == "" || len(names) == len(wanted) {
			continue
		}
		if k, ok := n.fleet.Key(q.Pool, i.User); ok && wanted[k] {
			names[k] = n.fleet.Normal(i.User)
		}
	}
	return names
}

// names asks all nodes for the names of users.
func (n *node) names(ctx context.Context, pool string, keys []place.Key) ([]string, error) {
	var all []string
	err := n.fleet.AskAll(ctx, namesTopic, whose{pool, keys}, func(r cluster.Reply) {
		var names map[place.Key]string
		if json.Unmarshal(r.Data, &names) != nil {
			return
		}
		for k, name := range names {
			if slices.Contains(keys, k) && len(name) <= maxFoundName {
				all = append(all, name)
			}
		}
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// maxFoundName bounds a name that another node tells: no login has a longer one.
const maxFoundName = 512

// search asks all nodes for sessions.
func (n *node) search(ctx context.Context, q balancer.Search) ([]admin.FleetFound, error) {
	var all []admin.FleetFound
	var bad []error
	err := n.fleet.AskAll(ctx, findTopic, q, func(r cluster.Reply) {
		var f admin.FleetFound
		if err := json.Unmarshal(r.Data, &f); err != nil || len(f.Sessions) > q.Limit() {
			bad = append(bad, fmt.Errorf("node %s: its answer is not understood", r.Node))
			return
		}
		f.Node = r.Node
		all = append(all, f)
	})
	return all, errors.Join(err, errors.Join(bad...))
}
