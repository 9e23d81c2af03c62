package place

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func even(n int) []Backend {
	var list []Backend
	for i := range n {
		list = append(list, Backend{ID: uint16(i), Name: fmt.Sprintf("store%d", i+1), Weight: 100})
	}
	return list
}

func TestFourthBackendTakesAQuarter(t *testing.T) {
	before, after := view(t, Shared, even(3)...), view(t, Shared, even(4)...)
	keys := users(10000)
	moved := 0
	for _, k := range keys {
		was, is := homeName(k, before), homeName(k, after)
		if was == is {
			continue
		}
		moved++
		if is != "store4" {
			t.Errorf("user %x moved between old back ends, from %s to %s", k, was, is)
		}
	}
	if share := 100 * float64(moved) / float64(len(keys)); math.Abs(share-25) > 3 {
		t.Errorf("%.1f %% of the users moved, want 25 ± 3", share)
	}
}

func TestStoppedBackendMovesOnlyItsOwn(t *testing.T) {
	list := even(4)
	before := view(t, Shared, list...)
	list[1].State = Down
	after := view(t, Shared, list...)
	landed := map[string]int{}
	for _, k := range users(10000) {
		was, is := homeName(k, before), homeName(k, after)
		if is == "store2" {
			t.Errorf("user %x has his home on a back end that is down", k)
		}
		if was != "store2" && was != is {
			t.Errorf("user %x moved from %s to %s", k, was, is)
		}
		if was == "store2" {
			landed[is]++
		}
	}
	if len(landed) != 3 {
		t.Errorf("its users landed on %v, want all three others", landed)
	}
}

func TestWeightsAreFollowed(t *testing.T) {
	for _, weights := range [][]int{
		{1, 1, 1},
		{100, 50},
		{1, 2, 3, 4},
		{1, 20},
		{MaxWeight, MaxWeight / 2, MaxWeight / 4},
		{100, 0, 100},
		{3, 3, 3, 3, 3, 3, 3, 3, 3, 4},
	} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			list := even(len(weights))
			sum := 0
			for i, w := range weights {
				list[i].Weight = w
				sum += w
			}
			v := view(t, Shared, list...)
			keys := users(50000)
			count := map[string]int{}
			for _, k := range keys {
				count[homeName(k, v)]++
			}
			for _, b := range list {
				n := float64(len(keys))
				p := float64(b.Weight) / float64(sum)
				// Four standard deviations of a fair draw.
				bound := 4 * math.Sqrt(n*p*(1-p))
				if diff := math.Abs(float64(count[b.Name]) - n*p); diff > bound {
					t.Errorf("%s with weight %d has %d users, want %.0f ± %.0f", b.Name, b.Weight, count[b.Name], n*p, bound)
				}
			}
		})
	}
}

func TestHomeWithoutCandidates(t *testing.T) {
	for _, tt := range []struct {
		name    string
		storage Storage
		list    []Backend
		want    string
	}{
		{"no back ends", Shared, nil, "-"},
		{"all down", Shared, []Backend{{Name: "a", Weight: 1, State: Down}}, "-"},
		{"all draining", Shared, []Backend{{Name: "a", Weight: 1, State: Drain}}, "-"},
		{"all without weight", Shared, []Backend{{Name: "a"}, {Name: "b"}}, "-"},
		{"local storage: down is still home", Local, []Backend{{Name: "a", Weight: 1, State: Down}}, "a"},
		{"local storage without weight", Local, []Backend{{Name: "a"}}, "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := homeName(1, view(t, tt.storage, tt.list...)); got != tt.want {
				t.Errorf("home is %s, want %s", got, tt.want)
			}
		})
	}
	if _, ok := Home(1, View{}); ok {
		t.Error("the zero view has a home")
	}
}

// TestLaws tries the laws of the package comment on random pools and users.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		backend := rapid.Custom(func(t *rapid.T) Backend {
			return Backend{
				ID:     rapid.Uint16().Draw(t, "id"),
				Name:   rapid.StringN(1, 12, 40).Draw(t, "name"),
				Weight: rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(0, MaxWeight)).Draw(t, "weight"),
				State:  rapid.SampledFrom([]State{Up, Up, Up, Drain, Down}).Draw(t, "state"),
			}
		})
		list := rapid.SliceOfNDistinct(backend, 1, 20, func(b Backend) string { return b.Name }).Draw(t, "back ends")
		storage := rapid.SampledFrom([]Storage{Shared, Local}).Draw(t, "storage")
		k := Key(rapid.Uint64().Draw(t, "key"))
		home := func(list []Backend) string {
			v, err := NewView(storage, list)
			if err != nil {
				t.Fatal(err)
			}
			return homeName(k, v)
		}

		was := home(list)
		shuffled := rapid.Permutation(list).Draw(t, "order")
		for i := range shuffled {
			shuffled[i].ID++
		}
		if is := home(shuffled); is != was {
			t.Fatalf("another order and other ids: home %q, want %q", is, was)
		}

		i := rapid.IntRange(0, len(list)-1).Draw(t, "changed")
		changed := slices.Clone(list)
		changed[i].Weight = rapid.IntRange(0, MaxWeight).Draw(t, "new weight")
		is := home(changed)
		name := list[i].Name
		switch {
		case is == was:
		case changed[i].Weight > list[i].Weight && is != name:
			t.Fatalf("%q got heavier: home moved from %q to %q", name, was, is)
		case changed[i].Weight < list[i].Weight && was != name:
			t.Fatalf("%q got lighter: home moved from %q to %q", name, was, is)
		}

		without := slices.Delete(slices.Clone(list), i, i+1)
		if is := home(without); was != name && is != was {
			t.Fatalf("%q went: home moved from %q to %q", name, was, is)
		}
	})
}

func TestHomeAllocatesNothing(t *testing.T) {
	v := view(t, Shared, even(10)...)
	if n := testing.AllocsPerRun(1000, func() { Home(42, v); Base(v, "store3", 42) }); n != 0 {
		t.Errorf("Home and Base make %v allocations, want 0", n)
	}
}

func BenchmarkHome(b *testing.B) {
	for _, n := range []int{3, 10, 100, 1000} {
		b.Run(fmt.Sprintf("backends=%d", n), func(b *testing.B) {
			v := view(b, Shared, even(n)...)
			b.ReportAllocs()
			k := Key(1)
			for b.Loop() {
				Home(k, v)
				k = k*0x9e3779b97f4a7c15 + 1
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	y := NewKeyer(make([]byte, 32))
	b.ReportAllocs()
	for b.Loop() {
		y.Key("main", "joe.user@mail.example.org")
	}
}
