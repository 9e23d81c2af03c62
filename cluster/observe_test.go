package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func edges(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("edge-%d", i+1))
	}
	return list
}

func stores(n int) []site {
	var list []site
	for i := range n {
		list = append(list, site{"main", fmt.Sprintf("store%d", i+1)})
	}
	return list
}

// TestObservers holds that a back end has five observers, or as many as there are
// nodes, that they do not hang on the order of the list, and that the work is
// shared.
func TestObservers(t *testing.T) {
	const backends, nodes = 200, 20
	for n := range nodes {
		if got := observers(site{"main", "store1"}, edges(n)); len(got) != min(n, MaxObservers) {
			t.Errorf("%d nodes: %d observers", n, len(got))
		}
	}
	work := map[string]int{}
	for _, s := range stores(backends) {
		list := edges(nodes)
		got := observers(s, list)
		if !slices.Equal(list, edges(nodes)) {
			t.Fatal("the list that was given is another")
		}
		slices.Reverse(list)
		if again := observers(s, list); !slices.Equal(again, got) {
			t.Errorf("%v: %v, and of the list reversed %v", s, got, again)
		}
		for _, n := range got {
			work[n]++
		}
	}
	// 50 each on average, with a deviation of 6; names differ in one letter only.
	for _, n := range edges(nodes) {
		if w := work[n]; w < 25 || w > 75 {
			t.Errorf("%s observes %d back ends of %d, want about %d", n, w, backends, backends*MaxObservers/nodes)
		}
	}
}

// TestObserversOfParts holds what makes it safe that each node computes them by
// itself: those who are among the first of all think so whomever they know, so that
// no back end is without, and when a node goes the others stay.
func TestObserversOfParts(t *testing.T) {
	all := edges(12)
	for _, s := range stores(50) {
		first := observers(s, all)
		for mask := range 1 << len(all) {
			var part []string
			for i, n := range all {
				if mask>>i&1 != 0 {
					part = append(part, n)
				}
			}
			for _, n := range first {
				if slices.Contains(part, n) && !slices.Contains(observers(s, part), n) {
					t.Fatalf("%v: %s is one of %v, and not of %v", s, n, first, part)
				}
			}
			if mask > 1<<9 && s.backend != "store1" {
				break // one back end in full is enough
			}
		}
		left := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == first[2] })
		now := observers(s, left)
		for _, n := range first {
			if n != first[2] && !slices.Contains(now, n) {
				t.Errorf("%v: %s went, and %s is no observer any more", s, first[2], n)
			}
		}
	}
}

// A view of the tests below: a word for each node with a letter for each back end,
// u(p), d(own) or - for not seen; lower case if it is its office. A ! in front means
// that its gossip is ill.
func ballotsOf(views []string) []ballot {
	var list []ballot
	for i, v := range views {
		b := ballot{node: edges(9)[i], well: true, up: map[site]bool{}, observes: map[site]bool{}}
		if v[0] == '!' {
			b.well, v = false, v[1:]
		}
		for j, c := range v {
			s := stores(9)[j]
			switch c {
			case 'u', 'd':
				b.observes[s] = true
				b.up[s] = c == 'u'
			case 'U', 'D':
				b.up[s] = c == 'U'
			}
		}
		list = append(list, b)
	}
	return list
}

// TestJudged holds the rules by which verdicts are taken.
func TestJudged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		views  []string
		wanted int
		fit    int
		want   string // a letter for each back end; - is that nothing changes
	}{
		{"all agree", []string{"ud", "ud", "ud"}, 3, 3, "ud"},
		{"a node alone", []string{"ud"}, 1, 1, "ud"},
		{"most see it down", []string{"du", "du", "uu"}, 3, 3, "du"},
		{"the first of three to see it", []string{"duu", "uuu", "uuu"}, 3, 3, "uuu"},
		{"a broken cable", []string{"ddd", "uuu", "uuu", "uuu", "uuu"}, 5, 4, "uuu"},
		{"two broken cables", []string{"ddd", "ddd", "uuu", "uuu", "uuu"}, 5, 3, "uuu"},
		{"a broken cable, and one that is down", []string{"ddd", "duu", "duu", "uuu"}, 4, 3, "duu"},
		{"the power is out", []string{"ddd", "ddd", "ddd", "uuu", "uuu"}, 5, 5, "ddd"},
		{"two that see it down, two that do not", []string{"duu", "duu", "uuu", "uuu"}, 4, 4, "-uu"},
		{"the only back end, one of two does not reach it", []string{"d", "u"}, 2, 1, "u"},
		{"half of the back ends is too many", []string{"dduu", "uuuu", "uuuu"}, 3, 2, "uuuu"},
		{"fewer than half are not", []string{"duuu", "uuuu", "uuuu"}, 3, 3, "uuuu"},
		{"gossip is ill", []string{"!dd", "!dd", "uu"}, 2, 1, "uu"},
		{"everybody's gossip is ill", []string{"!du", "!du", "!uu"}, 3, 3, "du"},
		{"who does not observe has no vote", []string{"uuu", "uuu", "uuu", "Duu", "Duu", "Duu", "Duu"}, 3, 7, "uuu"},
		{"unless too few do", []string{"uuu", "D--", "D--"}, 5, 3, "duu"},
		{"nobody has looked", []string{"-u", "-u"}, 2, 2, "-u"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backends := 0
			for _, v := range tt.views {
				backends = max(backends, len(v))
				if v[0] == '!' {
					backends = len(v) - 1
				}
			}
			counting := fit(ballotsOf(tt.views), backends)
			if len(counting) != tt.fit {
				t.Errorf("%d ballots count, want %d", len(counting), tt.fit)
			}
			var got strings.Builder
			for _, s := range stores(backends) {
				letter := "-"
				if up, ok := judged(s, counting, tt.wanted); ok && up {
					letter = "u"
				} else if ok {
					letter = "d"
				}
				got.WriteString(letter)
			}
			if got.String() != tt.want {
				t.Errorf("got %s, want %s", got.String(), tt.want)
			}
		})
	}
}
