package main

import (
	"slices"
	"testing"
)

// A node gives memory back at the first look after a rush and once more after it, and in a
// rush only where there is a lot. At rest it does not collect what probes leave, until that is
// much.
func TestTidier(t *testing.T) {
	type look struct{ accepted, held uint64 }
	const low = 10 << 20
	for _, tt := range []struct {
		name  string
		looks []look
		want  []bool
	}{
		{"at rest", []look{{5, low}, {5, low + tidyStep + 1}, {5, low + 2*tidyStep}, {5, low + 3*tidyStep}}, []bool{false, false, false, false}},
		{"at rest for long", []look{{5, low}, {5, low + tidyRest + 1}, {5, low}, {5, low}, {5, low}}, []bool{false, true, false, true, false}},
		{"after a rush", []look{{500, low + tidyStep + 1}, {500, low + tidyStep + 1}, {500, low}, {500, low}, {500, low}}, []bool{false, true, false, true, false}},
		{"a rush", []look{{500, low + 2*tidyLot}, {1000, low + 2*tidyLot}}, []bool{false, false}},
		{"a few beside a lot", []look{{6, low + tidyLot + 1}, {6 + tidyFew, low + tidyLot}, {6 + 2*tidyFew, low + tidyLot + 1}}, []bool{true, false, true}},
		{"a few", []look{{6, low + tidyStep}, {6, low + tidyStep}, {6, low + tidyStep}}, []bool{false, false, false}},
	} {
		tidier := tidier{last: 5, floor: low}
		var got []bool
		for _, l := range tt.looks {
			got = append(got, tidier.due(l.accepted, l.held))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: collects %v, want %v", tt.name, got, tt.want)
		}
	}
}
