package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"usher.example/cluster/table"
)

func put(key string, base uint64, sealed string) table.Put {
	return table.Put{Key: key, Base: base, By: "s", Sealed: []byte(sealed), At: 7}
}

func TestValues(t *testing.T) {
	tab := newTable(t)
	apply(t, tab, put("a/b/1", 0, "one"), put("a/b/2", 1, "two"), put("a/c", 2, "three"), put("ab", 3, "four"))
	for _, tt := range []struct {
		dir       string
		recursive bool
		want      string
	}{
		{"", false, "a ab"},
		{"", true, "a a/b a/b/1 a/b/2 a/c ab"},
		{"a", false, "a/b a/c"},
		{"a", true, "a/b a/b/1 a/b/2 a/c"},
		{"a/b", false, "a/b/1 a/b/2"},
		{"a/b/1", true, ""},
		{"x", true, ""},
	} {
		if got := strings.Join(tab.Values.List(tt.dir, tt.recursive), " "); got != tt.want {
			t.Errorf("List(%q, %t) is %q, want %q", tt.dir, tt.recursive, got, tt.want)
		}
	}
	v, ok := tab.Values.Find("a/b/2")
	if !ok || string(v.Sealed) != "two" || v.Modified != 7 || v.Number != 2 {
		t.Errorf("got %+v", v)
	}
	apply(t, tab, table.Remove{Key: "a/b", Base: 4})
	if got := strings.Join(tab.Values.List("", true), " "); got != "a a/c ab" || tab.Values.Dir("a/b") {
		t.Errorf("without a/b there are %s", got)
	}
	apply(t, tab, table.Remove{Key: "a", Base: 5}, table.Remove{Key: "ab", Base: 6})
	if tab.Values.Len() != 0 || tab.Values.Octets() != 0 || tab.Values.Dir("a") {
		t.Errorf("%d values, %d octets are left", tab.Values.Len(), tab.Values.Octets())
	}
}

// What was stored since a command was made is left alone by it: it is late, or said
// twice.
func TestLateValues(t *testing.T) {
	tab := newTable(t)
	apply(t, tab, put("a/b", 0, "one"), put("a/b", 1, "two"), put("a/c", 0, "three"))
	for _, late := range []table.Command{put("a/b", 1, "one"), table.Remove{Key: "a/b", Base: 1}, table.Remove{Key: "x", Base: 9}, table.Reseal{Key: "a/b", Number: 1, By: "s"}} {
		if err := tab.Apply(late, 1); !errors.Is(err, table.ErrLate) {
			t.Errorf("%+v: %v", late, err)
		}
	}
	apply(t, tab, table.Remove{Key: "a", Base: 2})
	if got := tab.Values.List("", true); !slices.Equal(got, []string{"a", "a/c"}) {
		t.Errorf("after a removal that is late there are %s", got)
	}
	apply(t, tab, table.Reseal{Key: "a/c", Number: 3, By: "t", Sealed: []byte("other")})
	if v, _ := tab.Values.Find("a/c"); v.Number != 3 || v.Modified != 7 || v.By != "t" || string(v.Sealed) != "other" {
		t.Errorf("sealed anew it is %+v", v)
	}
}

// What has been removed since does not come back by a command that is said twice, nor
// after a snapshot. Of other keys nothing is late for it.
func TestLateAfterRemoval(t *testing.T) {
	tab := newTable(t)
	key := put("a/key", 0, "private")
	apply(t, tab, key, put("a/crt", 1, "public"), table.Remove{Key: "a", Base: 2})
	for range 2 {
		for _, late := range []table.Put{key, put("a/crt", 2, "public")} {
			if err := tab.Apply(late, 1); !errors.Is(err, table.ErrLate) {
				t.Errorf("%s comes back: %v", late.Key, err)
			}
		}
		saved := save(t, tab)
		tab = table.New()
		if err := tab.Load(bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, tab, put("b", 0, "on its way since before"), put("a/key", tab.LastValue, "obtained anew"))
}

func TestBoundsOfValues(t *testing.T) {
	tab := newTable(t)
	apply(t, tab, put("a/b", 0, "one"))
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		key  string
		size int
		want error
	}{
		{long(table.MaxKey), table.MaxValue, nil},
		{long(table.MaxKey + 1), 1, table.ErrKey},
		{"big", table.MaxValue + 1, table.ErrTooLarge},
		{strings.Repeat("x/", table.MaxDepth-1) + "x", 1, nil},
		{strings.Repeat("x/", table.MaxDepth) + "x", 1, table.ErrKey},
		{"a", 1, table.ErrBelow},
		{"a/b/c", 1, table.ErrBelow},
		{"", 1, table.ErrKey},
		{"/x", 1, table.ErrKey},
		{"x/", 1, table.ErrKey},
		{"x//y", 1, table.ErrKey},
		{"x/../y", 1, table.ErrKey},
		{"./x", 1, table.ErrKey},
		{"x\x00y", 1, table.ErrKey},
		{"x\ny", 1, table.ErrKey},
		{"x\xff", 1, table.ErrKey},
		{"..x/y..z", 1, nil},
	} {
		c := put(tt.key, tab.LastValue, long(tt.size))
		if err := tab.Apply(c, 1); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%.40q with %d octets: %v, want %v", tt.key, tt.size, err, tt.want)
		}
	}
	if wire := table.Encode(put(long(table.MaxKey), 0, long(table.MaxValue))); len(wire) > table.MaxCommand {
		t.Errorf("the largest value makes a command of %d octets, more than %d", len(wire), table.MaxCommand)
	}
}

// A full table takes nothing more, but for what makes it smaller.
func TestFullOfValues(t *testing.T) {
	tab := newTable(t)
	big := strings.Repeat("x", table.MaxValue)
	n, err := 0, error(nil)
	for ; err == nil; n++ {
		if n > table.MaxValues/table.MaxValue {
			t.Fatal("it is never full")
		}
		err = tab.Apply(put(fmt.Sprint(n), tab.LastValue, big), 1)
	}
	if !errors.Is(err, table.ErrFull) || n < table.MaxValues/table.MaxValue*9/10 {
		t.Errorf("after %d values: %v", n, err)
	}
	apply(t, tab, put("0", tab.LastValue, "small"), put("new", tab.LastValue, "small"))
	for err = nil; err == nil; n++ {
		err = tab.Apply(put(fmt.Sprint(n), tab.LastValue, strings.Repeat("x", 64<<10)), 1)
	}
	v, _ := tab.Values.Find("new")
	if err := tab.Apply(table.Reseal{Key: "new", Number: v.Number, By: "s", Sealed: []byte(big)}, 1); !errors.Is(err, table.ErrFull) {
		t.Errorf("what is sealed anew grows: %v", err)
	}
	if tab.Values.Octets() > table.MaxValues {
		t.Errorf("%d octets", tab.Values.Octets())
	}
}

// The least values are not so many that a copy of the table takes long.
func TestManySmallValues(t *testing.T) {
	tab := newTable(t)
	n, err := 0, error(nil)
	for ; err == nil && n < 200_000; n++ {
		err = tab.Apply(put(fmt.Sprint(n), tab.LastValue, ""), 1)
	}
	if !errors.Is(err, table.ErrFull) || n < 100_000 {
		t.Errorf("after %d values: %v", n, err)
	}
}

// A table of before there were values is read, and one without any is written as it
// was then.
func TestOldSnapshot(t *testing.T) {
	tab := newTable(t)
	old := save(t, tab)
	for _, word := range []string{"values", "last_value", "removed", "locks", "last_beat"} {
		if bytes.Contains(old, []byte(word)) {
			t.Errorf("a snapshot without values says %q", word)
		}
	}
	apply(t, tab, put("a", 0, "one"), table.Take{Name: "l", Node: "a", Life: 1, Nonce: 1})
	if err := tab.Load(bytes.NewReader(old)); err != nil {
		t.Fatal(err)
	}
	if tab.Values.Len() != 0 || tab.LastValue != 0 || len(tab.Locks) != 0 || tab.LastBeat != 0 {
		t.Errorf("%d values and %d locks in an old snapshot", tab.Values.Len(), len(tab.Locks))
	}
	apply(t, tab, put("a", 0, "one"), table.Take{Name: "l", Node: "a", Life: 1, Nonce: 1})
}

// What is given under a lock is done only while that is had.
func TestFence(t *testing.T) {
	tab := newTable(t)
	fence := table.Fence{Lock: "l", Nonce: 5}
	key, gone := put("a", 0, "one"), table.Remove{Key: "a", Base: 9, Fence: fence}
	key.Fence = fence
	for _, c := range []table.Command{key, gone} {
		if err := tab.Apply(c, 1); !errors.Is(err, table.ErrNotLocked) {
			t.Errorf("%T without the lock: %v", c, err)
		}
	}
	apply(t, tab, table.Take{Name: "l", Node: "a", Life: 1, Nonce: 5}, key, gone, table.Drop{Name: "l", Nonce: 5}, put("a", 9, "two"), table.Take{Name: "l", Node: "b", Life: 1, Nonce: 6})
	key.Base = 9
	for _, c := range []table.Command{key, gone} {
		if err := tab.Apply(c, 1); !errors.Is(err, table.ErrNotLocked) {
			t.Errorf("%T with another's lock: %v", c, err)
		}
	}
	if c, err := table.Decode(table.Encode(gone)); err != nil || c != gone {
		t.Errorf("on the wire: %+v, %v", c, err)
	}
}

// A lock has one holder, who alone can renew and release it; it ends with his life, or
// when the leader has not seen it renewed.
func TestLocks(t *testing.T) {
	take := func(node string, nonce uint64) table.Take {
		return table.Take{Name: "l", Node: node, Life: 1, Nonce: nonce}
	}
	held := []table.Command{take("a", 5)}
	for _, tt := range []struct {
		name   string
		before []table.Command
		c      table.Command
		term   uint64 // 0 is 1
		want   error
	}{
		{"a free one is had", nil, take("a", 5), 0, nil},
		{"said twice it is had once", held, take("a", 5), 0, nil},
		{"nobody else has it", held, take("b", 6), 0, table.ErrLocked},
		{"nor its holder again", held, take("a", 6), 0, table.ErrLocked},
		{"nor another with the same nonce", held, take("b", 5), 0, table.ErrLocked},
		{"who is not counted takes none", nil, table.Take{Name: "l", Node: "a", Life: 2, Nonce: 5}, 0, table.ErrNotCounted},
		{"it is renewed", held, table.Renew{Node: "a", Life: 1, Nonces: []uint64{4, 5}}, 0, nil},
		{"not by another", held, table.Renew{Node: "b", Life: 1, Nonces: []uint64{5}}, 0, table.ErrNotLocked},
		{"it is released", held, table.Drop{Name: "l", Nonce: 5}, 0, nil},
		{"not by who has lost it", held, table.Drop{Name: "l", Nonce: 4}, 0, table.ErrNotLocked},
		{"nor twice", nil, table.Drop{Name: "l", Nonce: 5}, 0, table.ErrNotLocked},
		{"it is broken", held, table.Break{Term: 1, Name: "l", Nonce: 5, Beat: 1}, 0, nil},
		{"not in another term", held, table.Break{Term: 1, Name: "l", Nonce: 5, Beat: 1}, 2, table.ErrTerm},
		{"nor after a renewal", append(held, table.Renew{Node: "a", Life: 1, Nonces: []uint64{5}}), table.Break{Term: 1, Name: "l", Nonce: 5, Beat: 1}, 0, table.ErrLate},
		{"nor when it was taken again", append(held, table.Drop{Name: "l", Nonce: 5}, take("a", 5)), table.Break{Term: 1, Name: "l", Nonce: 5, Beat: 1}, 0, table.ErrLate},
		{"nor another holder's", held, table.Break{Term: 1, Name: "l", Nonce: 6, Beat: 1}, 0, table.ErrLate},
		{"it ends with a life", append(held, table.Expire{Term: 1, Node: "a", Life: 1}), take("b", 6), 0, nil},
		{"not with another's", append(held, table.Expire{Term: 1, Node: "b", Life: 1}), table.Drop{Name: "l", Nonce: 5}, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tab := newTable(t)
			apply(t, tab, tt.before...)
			if got := tab.Apply(tt.c, max(tt.term, 1)); !errors.Is(got, tt.want) || tt.want == nil && got != nil {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	tab := newTable(t)
	for n := range uint64(table.MaxLocks) {
		apply(t, tab, table.Take{Name: fmt.Sprint(n), Node: "a", Life: 1, Nonce: n + 1})
	}
	if err := tab.Apply(take("a", 5), 1); !errors.Is(err, table.ErrLocks) {
		t.Errorf("one more than possible: %v", err)
	}
}
