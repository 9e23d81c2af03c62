package place

import (
	"cmp"
	"slices"
)

// A Trace takes down what each rule said while a place was looked for, in the order in
// which they were asked. Whoever looks for a place only gives nil, and nothing is noted:
// the code that places is the code that explains.
type Trace struct{ Steps []Step }

// A Step is one rule's answer.
type Step struct {
	Rule    string  `json:"rule"`
	Outcome Outcome `json:"outcome"`
	// Backend is whom it is about; empty: nobody, or known by ID only.
	Backend string `json:"backend,omitempty"`
	ID      uint16 `json:"-"`
	Why     string `json:"why"`
}

// An Outcome is what came of a rule.
type Outcome string

// Outcomes.
const (
	Matched Outcome = "matched" // it names the place, or lets it stand
	Passed  Outcome = "passed"  // it has nothing to say
	Skipped Outcome = "skipped" // it was not asked, or its answer does not count
	Waits   Outcome = "waits"   // a login waits
	Refuses Outcome = "refuses" // nobody may serve the user
)

// Note takes a step down. Why should be a constant: with a nil Trace nothing is to be
// made for it.
func (t *Trace) Note(rule string, o Outcome, id uint16, backend, why string) {
	if t == nil {
		return
	}
	t.Steps = append(t.Steps, Step{Rule: rule, Outcome: o, Backend: backend, ID: id, Why: why})
}

// A Candidate is a back end that may be somebody's home.
type Candidate struct {
	Backend Backend
	// Score is what Home compares, -log2 of the hash over the weight; the lowest is the
	// home. It is for people: to compare by it would round.
	Score float64
}

// Rank lists the candidates for a user's home, the home first, by the scores that Home
// compares. It is for explanations and allocates.
func Rank(k Key, v View) []Candidate {
	list := make([]candidate, len(v.homes))
	copy(list, v.homes)
	score := func(c candidate) uint64 { return negLog2(mix(uint64(k) ^ c.hash)) }
	slices.SortStableFunc(list, func(a, b candidate) int { // equal ones by name, as in Home
		return cmp.Compare(score(a)*b.weight, score(b)*a.weight)
	})
	ranked := make([]Candidate, len(list))
	for i, c := range list {
		ranked[i] = Candidate{v.backends[c.index], float64(score(c)) / float64(one) / float64(c.weight)}
	}
	return ranked
}

// Left lists the back ends that are nobody's home now, and why.
func Left(v View) map[string]string {
	left := make(map[string]string)
	for _, b := range v.backends {
		switch {
		case slices.ContainsFunc(v.homes, func(c candidate) bool { return v.backends[c.index].Name == b.Name }):
		case b.Weight == 0:
			left[b.Name] = "weight 0"
		default:
			left[b.Name] = b.State.String()
		}
	}
	return left
}
