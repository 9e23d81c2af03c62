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

// ticket is a key that is used from a time on and opens until a hundred later.
func ticket(epoch uint64, at int64) table.Ticket {
	return table.Ticket{Epoch: epoch, Sealed: []byte{byte(epoch)}, NotBefore: at, Expiry: at + 100}
}

// epochs are the keys of a table in order of use.
func epochs(tab *table.Table) string {
	var list []uint64
	for _, k := range tab.Tickets.InUse() {
		list = append(list, k.Epoch)
	}
	return strings.Trim(fmt.Sprint(list), "[]")
}

func TestTicketsTurn(t *testing.T) {
	tab := table.New()
	for _, step := range []struct {
		what string
		c    table.Command
		want string // the keys in use, or an error
	}{
		{"the coming key is missing", table.Turn{To: 1, Keys: []table.Ticket{ticket(1, 0)}}, "no node can have meant"},
		{"the first two", table.Turn{To: 1, Keys: []table.Ticket{ticket(1, 0), ticket(2, 10)}}, "1 2"},
		{"twice", table.Turn{To: 1, Keys: []table.Ticket{ticket(1, 0), ticket(2, 10)}}, "is over"},
		{"a turn", table.Turn{Epoch: 1, To: 2, Keys: []table.Ticket{ticket(3, 20)}, At: 10}, "2 3 1"},
		{"late", table.Turn{Epoch: 1, To: 2, Keys: []table.Ticket{ticket(3, 20)}}, "is over"},
		{"back", table.Turn{Epoch: 2, To: 2, Keys: []table.Ticket{ticket(4, 20)}}, "no node can have meant"},
		{"to a key that nobody has", table.Turn{Epoch: 2, To: 4, Keys: []table.Ticket{ticket(4, 20)}}, "no node can have meant"},
		{"a gap", table.Turn{Epoch: 2, To: 3, Keys: []table.Ticket{ticket(5, 20)}}, "is over"},
		{"a gap behind the first", table.Turn{Epoch: 2, To: 4, Keys: []table.Ticket{ticket(4, 20), ticket(6, 20)}}, "no node can have meant"},
		{"too many at once", table.Turn{Epoch: 2, To: 5, Keys: []table.Ticket{ticket(4, 20), ticket(5, 30), ticket(6, 30)}}, "no node can have meant"},
		{"no octets", table.Turn{Epoch: 2, To: 3, Keys: []table.Ticket{{Epoch: 4}}}, "no node can have meant"},
		{"too many octets", table.Turn{Epoch: 2, To: 3, Keys: []table.Ticket{{Epoch: 4, Sealed: make([]byte, 257)}}}, "no node can have meant"},
		{"expired before it is used", table.Turn{Epoch: 2, To: 3, Keys: []table.Ticket{{Epoch: 4, Sealed: []byte{4}, NotBefore: 2, Expiry: 1}}}, "no node can have meant"},
		{"a second turn", table.Turn{Epoch: 2, To: 3, Keys: []table.Ticket{ticket(4, 30)}, At: 20}, "3 4 2 1"},
		{"a third: no more than four", table.Turn{Epoch: 3, To: 4, Keys: []table.Ticket{ticket(5, 40)}, At: 30}, "4 5 3 2"},
		{"an order: what has sealed nothing goes", table.Turn{Epoch: 4, To: 6, Keys: []table.Ticket{ticket(6, 41), ticket(7, 50)}, At: 41}, "6 7 4 3"},
		{"after a long rest", table.Turn{Epoch: 6, To: 7, Keys: []table.Ticket{ticket(8, 500)}, At: 125}, "7 8 6 4"},
		{"a clock ten years ahead", table.Turn{Epoch: 7, To: 8, Keys: []table.Ticket{ticket(9, 1e9)}, At: 1e9}, "8 9"},
		{"and back", table.Turn{Epoch: 8, To: 9, Keys: []table.Ticket{ticket(10, 140)}, At: 130}, "9 10 8"},
		{"with all given up", table.Turn{Epoch: 9, To: 11, Keys: []table.Ticket{ticket(11, 150), ticket(12, 150)}, At: 140, Drop: true}, "11 12"},
	} {
		before := epochs(tab)
		if err := tab.Apply(step.c, 1); err != nil {
			if !strings.Contains(err.Error(), step.want) {
				t.Fatalf("%s: %v, want %s", step.what, err, step.want)
			}
			if got := epochs(tab); got != before {
				t.Fatalf("%s: %v, but it changed %s to %s", step.what, err, before, got)
			}
			continue
		}
		if got := epochs(tab); got != step.want {
			t.Fatalf("%s: keys %s, want %s", step.what, got, step.want)
		}
	}
}

// A key that is sealed anew is the same key, and who was late with that does nothing.
func TestTicketsResealed(t *testing.T) {
	tab := table.New()
	apply(t, tab, table.Turn{To: 1, Keys: []table.Ticket{ticket(1, 0), ticket(2, 10)}})
	before := tab.Clone()
	apply(t, tab, table.ResealTickets{Keys: []table.Sealed{{Epoch: 1, Sealed: []byte("new 1")}, {Epoch: 2, Sealed: []byte("new 2")}}})
	for _, late := range []table.ResealTickets{
		{Keys: []table.Sealed{{Epoch: 1, Sealed: []byte("old")}}}, {Seals: 1}, {Seals: 1, Keys: []table.Sealed{{Epoch: 3, Sealed: []byte("gone")}}},
	} {
		if err := tab.Apply(late, 1); !errors.Is(err, table.ErrLate) {
			t.Errorf("%+v: %v", late, err)
		}
	}
	if k, _ := tab.Tickets.Find(2); string(k.Sealed) != "new 2" || k.NotBefore != 10 || tab.Tickets.Seals != 1 {
		t.Errorf("%+v", tab.Tickets)
	}
	if k, _ := before.Tickets.Find(2); string(k.Sealed) != "\x02" {
		t.Errorf("the copy has changed: %+v", before.Tickets)
	}
}

// A snapshot of before there were tickets is loaded; one with keys that cannot be is
// refused.
func TestTicketsLoad(t *testing.T) {
	tab := table.New()
	empty := save(t, tab)
	if bytes.Contains(empty, []byte("tickets")) {
		t.Errorf("who has none does not say so: %s", empty)
	}
	apply(t, tab, table.Turn{To: 1, Keys: []table.Ticket{ticket(1, 0), ticket(2, 10)}})
	full := save(t, tab)
	if err := tab.Load(bytes.NewReader(empty)); err != nil || len(tab.Tickets.Keys) != 0 {
		t.Errorf("%v, %+v", err, tab.Tickets)
	}
	for _, bad := range []string{`{"epoch":2,`, `{"epoch":9,`} {
		b := bytes.Replace(slices.Clone(full), []byte(`{"epoch":1,"keys"`), []byte(bad+`"keys"`), 1)
		if bytes.Equal(b, full) {
			t.Fatalf("no keys in %s", full)
		}
		if err := tab.Load(bytes.NewReader(b)); err == nil {
			t.Errorf("loaded %s", b)
		}
	}
}
