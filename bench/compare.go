package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/bench/result"
)

// newCompareCommand is `bench compare`.
func newCompareCommand() *cobra.Command {
	var filter result.Filter
	var asJSON bool
	var worse float64
	c := &cobra.Command{
		Use:   "compare OLD.json NEW.json",
		Short: "say what differs between two runs",
		Long: "Compares two runs, figure by figure: medians, how far samples lie from them, and the\n" +
			"difference where it is significant by the Mann-Whitney U test (as benchstat does it).\n" +
			"It ends with 0 whatever the runs say; with --worse PERCENT it ends with 1 when CPU or memory\n" +
			"(" + strings.Join(result.Primary(), ", ") + ") got significantly worse by more than\n" +
			"that: of some hundred figures a dozen differ by chance, so the others count only where --metric names\n" +
			"them. Any error ends it with 2.\n" +
			"Filters take shell patterns, several of them by commas or by repeating the flag.",
		Example: "  bench compare old.json new.json --target 'usher*' --metric cpu_us\n" +
			"  bench compare main.json branch.json --target usher --worse 10",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := filter.Validate(); err != nil {
				return err
			}
			gated := c.Flags().Changed("worse")
			if gated && !(worse >= 0) || math.IsInf(worse, 0) {
				return fmt.Errorf("--worse %v: want a percentage of 0 or more", worse)
			}
			before, err := result.ReadFile(args[0])
			if err != nil {
				return err
			}
			after, err := result.ReadFile(args[1])
			if err != nil {
				return err
			}
			comparison := result.Compare(before, after, filter)
			write := comparison.WriteText
			if asJSON {
				write = comparison.WriteJSON
			}
			if err := write(c.OutOrStdout()); err != nil {
				return err
			}
			if gated {
				return gate(comparison, worse, filter.Metrics)
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&filter.Scenarios, "scenario", nil, "only scenarios that match this `pattern`")
	c.Flags().StringSliceVar(&filter.Targets, "target", nil, "only targets that match this `pattern`")
	c.Flags().StringSliceVar(&filter.Metrics, "metric", nil, "only metrics that match this `pattern`")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	c.Flags().Float64Var(&worse, "worse", 0, "end with 1 if CPU, memory or what --metric names got significantly worse by more than this `percentage`")
	return c
}

// gate is an error that names what got worse by more than is allowed. Without a
// choice of metrics it looks at the primary ones only: so many others are compared
// that some differ by chance.
func gate(c *result.Comparison, allowed float64, chosen []string) error {
	figures := slices.DeleteFunc(slices.Clone(c.Figures), func(f result.FigureDiff) bool {
		return len(chosen) == 0 && !slices.Contains(result.Primary(), f.Metric)
	})
	if len(figures) == 0 {
		return fmt.Errorf("nothing was compared, so nothing can be said to be no worse: look at the filters")
	}
	var all []string
	for _, f := range figures {
		for _, d := range f.Targets {
			if d.WorseBy(allowed / 100) {
				all = append(all, fmt.Sprintf("%s of %s in %s", f.Metric, d.Target, f.Scenario))
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%w (%g %%): %s", errWorse, allowed, strings.Join(all, "; "))
}
