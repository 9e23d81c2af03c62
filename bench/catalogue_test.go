package main

import (
	"slices"
	"strings"
	"testing"

	"usher.example/bench/peers"
	"usher.example/bench/result"
	"usher.example/bench/scenario"
)

// catalogue is every scenario of a full run, with the metrics that it hands in.
func catalogue() map[string][]string {
	all := map[string][]string{}
	for _, c := range scenario.Catalogue(scenario.Default()) {
		for _, part := range c.Parts {
			all[part.Name] = nil
			for _, m := range scenario.Metrics(part.Name) {
				all[part.Name] = append(all[part.Name], m.Name)
			}
		}
	}
	return all
}

// TestUsesAreMeasured: a figure that the report judges by or reckons with, and that
// no scenario hands in, would be "not measured" for ever.
func TestUsesAreMeasured(t *testing.T) {
	all := catalogue()
	uses := result.Uses()
	if len(uses) < 40 {
		t.Fatalf("the report uses %d figures, want all that are asked for", len(uses))
	}
	for _, use := range uses {
		if metrics, ok := all[use.Scenario]; !ok || !slices.Contains(metrics, use.Metric) {
			t.Errorf("the report uses the %s of %s, which nobody measures", use.Metric, use.Scenario)
		}
	}
}

// TestTitles: what is measured has a title, and a title something that is measured.
func TestTitles(t *testing.T) {
	all := catalogue()
	covers := func(title result.Title, name, metric string) bool {
		return title.Metric == metric && slices.ContainsFunc(title.Prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	for name, metrics := range all {
		if len(metrics) == 0 {
			t.Errorf("%s says of no metric that it measures it", name)
		}
		for _, metric := range metrics {
			if metric != "failed" && !slices.ContainsFunc(result.Titles(), func(title result.Title) bool { return covers(title, name, metric) }) {
				t.Errorf("the report has no title for the %s of %s", metric, name)
			}
		}
	}
	for _, title := range result.Titles() {
		used := false
		for name, metrics := range all {
			used = used || slices.ContainsFunc(metrics, func(metric string) bool { return covers(title, name, metric) })
		}
		if !used {
			t.Errorf("the report has a title for %s of %v, which nobody measures", title.Metric, title.Prefixes)
		}
	}
}

// TestPeersAreRivals: usher is held against all programs that people use in its
// place, and not against what is only there to compare with.
func TestPeersAreRivals(t *testing.T) {
	references := []string{"usher", "usher-copy", "naive", "direct"}
	for _, p := range peers.All() {
		if got, want := result.Reference(p.Name), slices.Contains(references, p.Name); got != want {
			t.Errorf("%s is a reference: %v, want %v", p.Name, got, want)
		}
	}
}
