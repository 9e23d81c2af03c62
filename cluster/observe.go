package cluster

import (
	"cmp"
	"slices"
)

// Who probes which back end, and what the leader makes of what they say: pure
// functions of what is known at one moment.

// MaxObservers is how many nodes probe one back end. Five outvote two that are
// mistaken, and more would be logins for nothing.
const MaxObservers = 5

// A site is a back end by name.
type site struct{ pool, backend string }

// observers chooses who of the nodes probes a back end: those with the highest hash
// of both names. Who is among the first five of all nodes is so among any part of
// them that he is in: nodes that do not know of each other, or know of one that is
// gone, make more observers, and never fewer.
func observers(s site, nodes []string) []string {
	list := slices.Clone(nodes)
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.score(b), s.score(a)), cmp.Compare(a, b))
	})
	return list[:min(len(list), MaxObservers)]
}

// score is FNV-1a over the names, and the finaliser of SplitMix64 on top: without
// it names that differ in their last letter would come in the same order for all
// back ends.
func (s site) score(node string) uint64 {
	h := uint64(14695981039346656037)
	for _, part := range [...]string{s.pool, s.backend, node} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * 1099511628211
		}
		h *= 1099511628211 // as for a NUL, which no name has
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// A ballot is what one node has said lately.
type ballot struct {
	node     string
	well     bool          // by its own gossip
	up       map[site]bool // what it has seen itself
	observes map[site]bool // where that is its office
}

// A tally counts votes about one back end.
type tally struct{ up, down int }

func (t *tally) add(up bool) {
	if up {
		t.up++
	} else {
		t.down++
	}
}

func (t tally) votes() int { return t.up + t.down }

// verdict is what most say; equal numbers say nothing.
func (t tally) verdict() (up, ok bool) { return t.up > t.down, t.up != t.down }

// fit returns the ballots that count: of nodes whose gossip is well and of whose
// back ends, of which there are so many, fewer than half fail for them alone, which
// is while most of the other observers see them up. If nobody's do, everybody's do:
// somebody has to be believed.
func fit(ballots []ballot, backends int) []ballot {
	counts := make(map[site]tally)
	for _, b := range ballots {
		for s, up := range b.up {
			if b.well && b.observes[s] {
				t := counts[s]
				t.add(up)
				counts[s] = t
			}
		}
	}
	var list []ballot
	for _, b := range ballots {
		if b.well && 2*b.alone(counts) < max(backends, 1) {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		return ballots
	}
	return list
}

// alone is how many back ends fail for a node that most of the others see up.
func (b ballot) alone(counts map[site]tally) int {
	n := 0
	for s, up := range b.up {
		others := counts[s]
		if b.well && b.observes[s] && !up {
			others.down--
		}
		if good, ok := others.verdict(); !up && good && ok {
			n++
		}
	}
	return n
}

// judged is the verdict of the ballots that count about a back end, which should
// have so many observers. If more than half of them say nothing, whoever has looked
// at it is heard as well.
func judged(s site, ballots []ballot, wanted int) (up, ok bool) {
	var office, anybody tally
	for _, b := range ballots {
		if up, looked := b.up[s]; looked {
			anybody.add(up)
			if b.observes[s] {
				office.add(up)
			}
		}
	}
	if 2*office.votes() <= wanted {
		return anybody.verdict()
	}
	return office.verdict()
}
