package admin

import (
	"fmt"
	"strings"

	"usher.example/cluster"
)

// backends shows the back ends over all nodes that answer.
func (b *Board) backends(w *watcher) {
	o := w.s.o
	for _, p := range o.Places.Status() {
		b.Pools = append(b.Pools, BoardPool{p.Name, p.Storage, p.Usable})
	}
	var placed []cluster.FleetBackend
	if o.Placed != nil {
		placed = o.Placed()
	} else {
		placed = placedAlone(o.Places)
	}
	at := make(map[[2]string]int)
	for _, p := range placed {
		row := BoardBackend{
			Pool: p.Pool, Name: p.Name, Address: clip(p.Address), Admin: p.Admin, State: p.State, Up: p.Up, Since: float64(p.Since),
			by: clip(p.By), Changing: p.Changing, Weight: p.Weight, Override: p.Override, Errors: []string{},
		}
		key := [2]string{p.Pool, p.Name}
		if i, twice := at[key]; twice { // a former server of that name, or the one after it
			if b.Backends[i].State == "removed" {
				b.Backends[i] = row
			}
			continue
		}
		at[key] = len(b.Backends)
		b.Backends = append(b.Backends, row)
	}
	for i := range b.Nodes {
		if n := &b.Nodes[i]; n.State != NodeAbsent && n.State != NodeSilent {
			b.count(n.Name, w.seen[n.Name], at)
		}
	}
	for i := range b.Backends {
		b.Backends[i].quantiles(w, b.Nodes)
	}
	b.share()
}

func placedAlone(p Places) (list []cluster.FleetBackend) {
	for _, pool := range p.Status() {
		for _, b := range pool.Backends {
			list = append(list, cluster.FleetBackend{Pool: pool.Name, Name: b.Name, Weight: b.Weight, Admin: b.Admin.String(), Up: b.Up, State: b.State})
		}
	}
	return list
}

// find returns the part of a back end; nil if there is none.
func (p *nodePart) find(pool, name string) *backendPart {
	for i := range p.Backends {
		if b := &p.Backends[i]; b.Pool == pool && b.Name == name {
			return b
		}
	}
	return nil
}

// count adds what a node has to do with the back ends.
func (b *Board) count(node string, looks []look, at map[[2]string]int) {
	if len(looks) == 0 {
		return
	}
	first := &looks[max(0, len(looks)-1-rateLooks)]
	last := &looks[len(looks)-1]
	span := last.at.Sub(first.at).Seconds()
	for i := range last.part.Backends {
		now := &last.part.Backends[i]
		j, known := at[[2]string{now.Pool, now.Name}]
		if !known {
			continue
		}
		row := &b.Backends[j]
		row.Users, row.Sessions, row.Damped = row.Users+now.Users, row.Sessions+now.Sessions, row.Damped || now.Damped
		if now.Error != "" || now.Down > 0 {
			row.tell(node, now.Error)
			if row.DownFor == nil || *row.DownFor < now.Down {
				row.DownFor = &now.Down
			}
		}
		if was := first.part.find(now.Pool, now.Name); was != nil && span > 0 && now.Logins >= was.Logins && now.Failures >= was.Failures {
			logins, failures := float64(now.Logins-was.Logins)/span, float64(now.Failures-was.Failures)/span
			row.Logins, row.Failures = add(row.Logins, &logins), add(row.Failures, &failures)
		}
	}
}

// tell notes what a node's probe said; what several say is there once.
func (row *BoardBackend) tell(node, said string) {
	for i, known := range row.Errors {
		if nodes, text, _ := strings.Cut(known, ": "); text == said {
			row.Errors[i] = nodes + ", " + node + ": " + said
			return
		}
	}
	if len(row.Errors) < maxReasons {
		row.Errors = append(row.Errors, node+": "+said)
	}
}

// Quantiles that are shown.
const (
	median = 0.5
	tail   = 0.95
)

// quantiles sums what the nodes measured since the oldest look that is kept. Of one
// look all there was since the start counts: better than nothing to see.
func (row *BoardBackend) quantiles(w *watcher, nodes []BoardNode) {
	sums := make(map[float64]uint64)
	var bounds []float64
	for i := range nodes {
		looks := w.seen[nodes[i].Name]
		if len(looks) == 0 || nodes[i].State == NodeAbsent || nodes[i].State == NodeSilent {
			continue
		}
		now, before := looks[len(looks)-1].part.find(row.Pool, row.Name), (*backendPart)(nil)
		if len(looks) > 1 {
			before = looks[0].part.find(row.Pool, row.Name)
		}
		if now == nil {
			continue
		}
		for k, c := range now.Connect {
			if before != nil && k < len(before.Connect) && before.Connect[k].Le == c.Le && before.Connect[k].N <= c.N {
				c.N -= before.Connect[k].N
			}
			if _, known := sums[c.Le]; !known {
				bounds = append(bounds, c.Le)
			}
			sums[c.Le] += c.N
		}
	}
	row.ConnectP50, row.ConnectP95 = quantile(bounds, sums, median), quantile(bounds, sums, tail)
}

// quantile is the bucket's upper bound, in milliseconds; nil if nothing was counted.
func quantile(bounds []float64, cumulative map[float64]uint64, q float64) *float64 {
	if len(bounds) == 0 {
		return nil
	}
	all := cumulative[bounds[len(bounds)-1]]
	for _, le := range bounds {
		if n := cumulative[le]; n > 0 && float64(n) >= q*float64(all) {
			return finite(le * 1000)
		}
	}
	return nil
}

// share compares what back ends have with what their weights give them. Who takes no
// new users has no due.
func (b *Board) share() {
	users, weights := make(map[string]int), make(map[string]int)
	for i := range b.Backends {
		row := &b.Backends[i]
		users[row.Pool] += row.Users
		if row.State == "up" {
			weights[row.Pool] += row.Weight
		}
	}
	for i := range b.Backends {
		row := &b.Backends[i]
		if n := users[row.Pool]; n > 0 {
			row.Share = float64(row.Users) / float64(n)
		}
		if n := weights[row.Pool]; n > 0 && row.State == "up" {
			row.Due = float64(row.Weight) / float64(n)
		}
	}
}

// title is how a back end is called in a sentence.
func (row *BoardBackend) title(pools int) string {
	if pools > 1 {
		return fmt.Sprintf("%s (pool %s)", row.Name, row.Pool)
	}
	return row.Name
}
